"""Makes fairseq know the task "spin", the models "spin" and "wavlm", and the criterion "swapped_prediction"."""

import importlib
import logging

from .compat.pickles import allow_checkpoint_classes


def register() -> None:
    """Import what registers itself with fairseq, and let torch >= 2.6 read fairseq's checkpoints; safe to call twice.

    Patches nothing: what training needs is patched when its task is set up (`compat.apply`).
    """
    _import_fairseq_quietly()
    allow_checkpoint_classes()
    for module in ("criterions.swapped_prediction", "models.spin", "models.wavlm", "tasks.spin"):
        importlib.import_module(f"{__package__}.{module}")


def _import_fairseq_quietly():
    """One of fairseq's models sets up the root logger when it is imported: it is put back."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    importlib.import_module("fairseq.models")
    importlib.import_module("fairseq.tasks")
    root.setLevel(level)
    root.handlers[:] = handlers
