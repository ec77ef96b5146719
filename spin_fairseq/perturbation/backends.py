"""The engines that change a voice, behind one interface.

A backend is a callable `backend(wave, sample_rate, pitch_range, draw) -> wave`: a float32 array (T,) in, the speaker's
floor and ceiling in Hz or None, a SpeakerDraw, and an array of the same length out. It changes formants and pitch;
`perturb` adds the equaliser and the clip. Adding an engine is adding a module and a line in BACKENDS.

The native engine takes pitch marks as well, and changes whole batches on any device.
"""

from importlib import import_module
from collections.abc import Callable

import numpy as np
import torch

from ..errors import ConfigError
from .equalizer import equalize
from .speaker import change_speaker
from .draws import SpeakerDraw
from .pitch_marks import PitchMarks

BACKENDS = {"native": ".native", "praat": ".praat", "sox": ".sox", "none": None}


def build_backend(name: str) -> Callable[..., np.ndarray] | None:
    """-> a backend, or None for "none". ConfigError for an unknown name or one that is not installed, with the remedy."""
    if name not in BACKENDS:
        raise ConfigError(f"task.perturbation is {name!r}: choose one of {', '.join(BACKENDS)}")
    if BACKENDS[name] is None:
        return None
    module = import_module(BACKENDS[name], __package__)
    module.check_installed()
    return module.change_speaker


def perturb(
    backend: Callable[..., np.ndarray] | None, wave: np.ndarray, sample_rate: int,
    pitch_range: tuple[float, float] | None, draw: SpeakerDraw, marks: PitchMarks | None = None,
) -> np.ndarray:  # fmt: skip
    """A second view of a wave: another voice, another channel, clipped to [-1, 1]. (T,) float32 -> (T,) float32.

    marks: PitchMarks of the wave, for the native engine. With backend None the wave comes back as it is.
    Raises PerturbationError.
    """
    if backend is None:
        return wave
    changed = backend(wave, sample_rate, pitch_range, draw, *([] if marks is None else [marks]))
    changed = equalize(changed, sample_rate, gains_db=draw.gains_db, q=draw.q)
    return np.clip(changed, -1.0, 1.0)


def perturb_batch(
    wave: torch.Tensor, lengths: torch.Tensor, sample_rate: int, marks: PitchMarks, draws: SpeakerDraw
) -> torch.Tensor:
    """As `perturb` by the native engine, for a batch on any device: (B, T) -> (B, T) float32, zero behind the ends.

    lengths: (B,) samples; marks: PitchMarks (B, M); draws: of `stack_draws`, on the host.
    """
    changed = change_speaker(
        wave, sample_rate, lengths=lengths, marks=marks, seed=draws.seed,
        formant_ratio=draws.formant_ratio, pitch_ratio=draws.pitch_ratio, range_ratio=draws.range_ratio,
    )  # fmt: skip
    changed = equalize(changed, sample_rate, gains_db=draws.gains_db, q=draws.q, lengths=lengths)
    return changed.clamp(-1.0, 1.0)
