"""A quick perturbation by the sox program: formants and pitch move together by the formant ratio.

sox cannot move one without the other, so the pitch and range ratios of a draw are not used: weaker than Praat, for
machines where Praat cannot be installed. The wave goes through pipes, never through files.
"""

import logging
import shutil

import numpy as np

from ..errors import ConfigError, PerturbationError
from .draws import SpeakerDraw


def check_installed() -> None:
    """ConfigError, with the remedy, where the sox program is missing."""
    if shutil.which("sox") is None:
        raise ConfigError("task.perturbation=sox needs the sox program: apt-get install sox (Debian, Ubuntu)")


def change_speaker(
    wave: np.ndarray, sample_rate: int, pitch_range: tuple[float, float] | None, draw: SpeakerDraw
) -> np.ndarray:
    """(T,) float32 -> (T,) float32, the spectrum stretched by the formant ratio. Raises PerturbationError."""
    import sox

    logging.getLogger("sox").setLevel(logging.ERROR)  # it has advice on the effect for many a factor
    transformer = sox.Transformer()
    transformer.set_globals(verbosity=0)
    transformer.gain(-6.0)  # headroom: resampling overshoots on full-scale input
    transformer.speed(draw.formant_ratio)
    transformer.tempo(1.0 / draw.formant_ratio, audio_type="s")
    try:
        changed = transformer.build_array(input_array=wave.astype(np.float32), sample_rate_in=sample_rate)
    except (sox.core.SoxError, ValueError) as error:
        raise PerturbationError(f"sox: {error}") from None
    changed = changed.astype(np.float32) * 10.0 ** (6.0 / 20.0)
    # Speed and tempo round to whole segments; a few milliseconds at the end come or go.
    return np.pad(changed[: len(wave)], (0, max(0, len(wave) - len(changed))))
