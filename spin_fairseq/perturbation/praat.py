"""Praat's "Change gender" through Parselmouth (extra `[praat]`): the recipe's own perturbation.

Parselmouth 0.4 holds Praat 6.1.38, in which a range factor that takes f0 to zero or below raises an error or never
returns; the factor is therefore limited to what the utterance's lowest f0 allows. Praat's random numbers (voiceless
intervals) are seeded by the draw, so that a draw always gives the same wave.
"""

import warnings

import numpy as np

from ..errors import ConfigError, PerturbationError
from .draws import SpeakerDraw

WIDE_RANGE = (75.0, 400.0)  # Hz, for a speaker of whom nothing is known

# How far below its median the lowest f0 may be taken: to a twentieth, well above the zero that Praat cannot bear.
_LOWEST_FRACTION_OF_MEDIAN = 0.05


def check_installed() -> None:
    """ConfigError, with the remedy, where Parselmouth is missing."""
    try:
        import parselmouth  # noqa: F401
    except ImportError:
        raise ConfigError(
            "task.perturbation=praat needs Parselmouth: pip install praat-parselmouth, or choose sox"
        ) from None


def safe_range_ratio(range_ratio: float, f0: np.ndarray) -> float:
    """The largest factor up to `range_ratio` that leaves every f0 above zero. f0: (N,) Hz, voiced frames."""
    below = 1.0 - f0.min() / np.median(f0)
    return range_ratio if below <= 0.0 else min(range_ratio, (1.0 - _LOWEST_FRACTION_OF_MEDIAN) / below)


def change_speaker(
    wave: np.ndarray, sample_rate: int, pitch_range: tuple[float, float] | None, draw: SpeakerDraw
) -> np.ndarray:
    """(T,) float32 -> (T,) float32 with formants, median pitch and pitch range multiplied by the draw's ratios.

    pitch_range: floor and ceiling of the speaker's f0, Hz; None: WIDE_RANGE. Where Praat finds no voiced frame, formants alone change.
    Raises PerturbationError where Praat gives up.
    """
    import parselmouth

    floor, ceiling = pitch_range or WIDE_RANGE
    sound = parselmouth.Sound(wave.astype(np.float64), sampling_frequency=sample_rate)
    try:
        pitch = sound.to_pitch_ac(time_step=0.8 / floor, pitch_floor=floor, pitch_ceiling=ceiling)
        f0 = pitch.selected_array["frequency"]
        f0 = f0[f0 > 0]
        median, range_ratio = 0.0, draw.range_ratio
        if len(f0):
            median = draw.pitch_ratio * float(np.median(f0))
            range_ratio = safe_range_ratio(range_ratio, f0)
        parselmouth.praat.run(f"random_initializeWithSeedUnsafelyButPredictably ({draw.seed})")
        with warnings.catch_warnings():
            # "no voiced frames": formants change all the same
            warnings.simplefilter("ignore", parselmouth.PraatWarning)
            changed = parselmouth.praat.call(
                [sound, pitch], "Change gender", draw.formant_ratio, median, range_ratio, 1.0
            )
    except parselmouth.PraatError as error:
        raise PerturbationError(f"Praat: {' '.join(str(error).split())}") from None
    result = changed.values[0].astype(np.float32)
    if len(result) != len(wave) or not np.isfinite(result).all():
        raise PerturbationError(f"Praat returned {len(result)} samples for {len(wave)}, or not numbers")
    return result
