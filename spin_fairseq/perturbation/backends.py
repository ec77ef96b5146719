"""The engines that change a voice, behind one interface.

A backend is a callable `backend(wave, sample_rate, pitch_range, draw) -> wave`: a float32 array (T,) in, a SpeakerDraw,
and an array of the same length out. It changes formants and pitch; `perturb` adds the equaliser and the clip.
Adding an engine is adding a module and a line in BACKENDS.
"""

from importlib import import_module

import numpy as np

from ..errors import ConfigError
from .equalizer import equalize

BACKENDS = {"native": ".native", "praat": ".praat", "sox": ".sox", "none": None}


def build_backend(name):
    """-> a backend, or None for "none". ConfigError for an unknown name or one that is not installed, with the remedy."""
    if name not in BACKENDS:
        raise ConfigError(f"task.perturbation is {name!r}: choose one of {', '.join(BACKENDS)}")
    if BACKENDS[name] is None:
        return None
    module = import_module(BACKENDS[name], __package__)
    module.check_installed()
    return module.change_speaker


def perturb(backend, wave, sample_rate, pitch_range, draw):
    """A second view of a wave: another voice, another channel, clipped to [-1, 1]. (T,) float32 -> (T,) float32.

    With backend None the wave comes back as it is. Raises PerturbationError.
    """
    if backend is None:
        return wave
    changed = backend(wave, sample_rate, pitch_range, draw)
    changed = equalize(changed, sample_rate, gains_db=draw.gains_db, q=draw.q)
    return np.clip(changed, -1.0, 1.0)
