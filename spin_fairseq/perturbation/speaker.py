"""Another voice: pitch marks, a new pitch contour, resampled grains. One function for the CPU and for any device."""

import math

import numpy as np
import torch

from .grains import HIGHEST_F0, plan, plan_row
from .overlap_add import overlap_add, overlap_add_row
from .pitch_marks import PitchMarks, find_pitch_marks
from .resampling import resample, resample_row, taps_for
from .waves import Numbers, Wave, as_waves, per_row


def change_speaker(
    wave: Wave, sample_rate: float, *, pitch_floor: Numbers | None = None, pitch_ceiling: Numbers | None = None,
    formant_ratio: Numbers = 1.0, pitch_ratio: Numbers = 1.0, range_ratio: Numbers = 1.0,
    marks: PitchMarks | None = None, lengths: torch.Tensor | None = None, seed: Numbers = 0,
) -> Wave:  # fmt: skip
    """The same words by another voice, of the same length.

    wave: (T,) or (B, T) float array or tensor; sample_rate: Hz; lengths: (B,) samples of each row.
    pitch_floor, pitch_ceiling: Hz, the speaker's range; None: estimated for each utterance. Not used with `marks`.
    formant_ratio multiplies all resonances, pitch_ratio the median f0, range_ratio the distance of f0 from its median.
    marks: of `find_pitch_marks`, of this wave; None: found here. seed: of the jitter in voiceless intervals.
    All numbers may be one for each row, on the host. Raises PerturbationError.
    """
    waves = as_waves(wave, lengths)
    rows = len(waves.samples)
    ratios = [
        per_row(name, value, rows)
        for name, value in (
            ("formant_ratio", formant_ratio),
            ("pitch_ratio", pitch_ratio),
            ("range_ratio", range_ratio),
        )
    ]
    seed = np.array(np.broadcast_to(seed, rows), dtype=np.int64)
    if marks is None:
        marks = find_pitch_marks(
            waves.samples, sample_rate, pitch_floor=pitch_floor, pitch_ceiling=pitch_ceiling, lengths=waves.lengths
        )
    elif waves.single:
        marks = PitchMarks(marks.times[None], marks.joined[None])
    if not waves.on_host:
        samples = waves.masked(waves.samples)
        return waves.like_input(_change_batch(samples, waves.lengths, sample_rate, marks, *ratios, seed))
    changed = torch.zeros_like(waves.samples)
    for row, wave in enumerate(waves.rows()):  # row by row, so that nothing is computed for padding
        own = PitchMarks(marks.times[row : row + 1], marks.joined[row : row + 1])
        numbers = [float(ratio[row]) for ratio in ratios]
        changed[row, : wave.size(1)] = _change_row(wave, sample_rate, own, *numbers, int(seed[row]))
    return waves.like_input(changed)


def _change_row(wave, sample_rate, marks, formant_ratio, pitch_ratio, range_ratio, seed):
    """One utterance on the CPU: (1, T) float32, marks (1, M), numbers -> (T,)."""
    length = wave.size(1)
    if not length:
        return wave[0]
    grains = plan_row(marks, length, sample_rate, formant_ratio, pitch_ratio, range_ratio, seed)
    source = resample_row(wave[0], formant_ratio, math.ceil(length / formant_ratio))
    return overlap_add_row(source, grains, formant_ratio, length)


def _change_batch(wave, lengths, sample_rate, marks, formant_ratio, pitch_ratio, range_ratio, seed):
    """A batch on any device: (B, T), marks (B, M); ratios and seed: arrays (B,)."""
    samples = wave.size(1)
    capacity = int(samples / sample_rate * HIGHEST_F0) + marks.times.size(1) + 2
    taps, source_samples = taps_for(float(formant_ratio.max())), int(samples / float(formant_ratio.min())) + 1
    ratios = torch.from_numpy(np.stack([formant_ratio, pitch_ratio, range_ratio])).to(wave.device, non_blocking=True)
    seed = torch.from_numpy(seed).to(wave.device, non_blocking=True)
    grains = plan(marks, lengths, sample_rate, *ratios, seed, capacity)
    source = resample(wave, lengths, ratios[0], source_samples, taps)
    return overlap_add(source, grains, ratios[0], samples)
