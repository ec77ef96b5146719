"""Spin (speaker-invariant clustering of speech), and its training with fairseq.

Where fairseq is installed, importing this package registers its task, models and criterion. Everything else is imported
when it is asked for, and needs no fairseq:

    import spin_fairseq

    model = spin_fairseq.load_spin("checkpoint_best.pt")
    units = model.extract_units(waves)  # (B, T) at 16 kHz -> (B, frames)
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec

__version__ = "0.1.0"

# Name -> the room that it is imported from.
_PUBLIC = {
    "load_encoder": "checkpoints",
    "load_model": "checkpoints",
    "load_spin": "checkpoints",
    "StreamingSpin": "extraction.streaming",
    "change_speaker": "perturbation",
    "equalize": "perturbation",
    "find_pitch_marks": "perturbation",
    "sinkhorn": "modules.sinkhorn",
    "swapped_prediction_loss": "modules.swapped_prediction",
    "cluster_quality": "evaluation.clusters",
    "SpinError": "errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    """A public name, or a room of the package, imported now."""
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_PUBLIC})


def _runs_our_command():
    """`spin-fairseq` and `python -m spin_fairseq` train in a process of their own: they do without fairseq's 10 seconds."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # Python is looking for the module
        given = sys.orig_argv
        return "-m" in given and given[given.index("-m") + 1 :][:1] == [__name__]
    return os.path.basename(program) == "spin-fairseq"


if sys.modules.get("fairseq") or (not _runs_our_command() and find_spec("fairseq") is not None):
    from .registration import register

    register()
