"""The native engine as a backend: `speaker.change_speaker` on one wave in a data worker."""

import numpy as np

from .equalizer import BANDS, LONG, equalize
from .speaker import change_speaker as change_by_ratios
from .draws import SpeakerDraw
from .pitch_marks import PitchMarks


def check_installed() -> None:
    """Compile the inner loops, once and before workers are started: each of them would do it again."""
    tone = np.sin(np.arange(LONG, dtype=np.float32) * 0.1)
    change_by_ratios(tone, 16000, formant_ratio=1.1)
    for wave in (tone, tone[:100]):  # each has a kernel of its own
        equalize(wave, 16000, gains_db=np.ones(BANDS), q=np.ones(BANDS))


def change_speaker(
    wave: np.ndarray, sample_rate: int, pitch_range: tuple[float, float] | None, draw: SpeakerDraw,
    marks: PitchMarks | None = None,
) -> np.ndarray:  # fmt: skip
    """(T,) float32 -> (T,) float32 with formants, median pitch and pitch range multiplied by the draw's ratios.

    pitch_range: floor and ceiling of the speaker's f0, Hz; None: estimated for the utterance. marks: PitchMarks of this
    wave, found before. Raises PerturbationError.
    """
    floor, ceiling = pitch_range or (None, None)
    return change_by_ratios(
        wave, sample_rate, pitch_floor=floor, pitch_ceiling=ceiling, marks=marks, seed=draw.seed,
        formant_ratio=draw.formant_ratio, pitch_ratio=draw.pitch_ratio, range_ratio=draw.range_ratio,
    )  # fmt: skip
