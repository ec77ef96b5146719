"""Pitch marks: one place in each period of the voiced intervals, where the energy of the period is centred."""

from __future__ import annotations

import math
from typing import NamedTuple
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from . import kernels, pitch
from .crossings import whole_numbers
from .waves import Numbers, Wave, as_waves, per_row

ANALYSIS_VERSION = 3  # of what marks are found; cached ones of another version are measured anew
RESOLUTION = 16  # marks lie on multiples of 1/16 sample, so that cached ones are the same
# Phases are averaged over this many frames of an interval on either side, twice, which gives weights that fall off about
# as a triangle. Less would let marks move where one phone has its energy later in the period than the last one had,
# and the new contour would follow.
REACH = 8
# Periods by which an interval is longer on either side than its frames, as long as that is half a step at most.
BEYOND = 0.5


class PitchMarks(NamedTuple):
    """Marks of one utterance, (M,), or of a batch, (B, M) with +inf behind a row's own."""

    times: torch.Tensor  # float64, samples, ascending
    joined: torch.Tensor  # bool: the next mark belongs to the same voiced interval

    def crop(self, start: int, samples: int) -> PitchMarks:
        """The marks of `samples` samples from `start`; of one utterance."""
        inside = (self.times >= start) & (self.times < start + samples)
        joined = self.joined[inside]
        joined[-1:] = False
        return PitchMarks(self.times[inside] - start, joined)


NO_MARKS = PitchMarks(torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.bool))


def pad_marks(rows: Sequence[PitchMarks]) -> PitchMarks:
    """Marks of single utterances -> those of a batch."""
    size = max((len(marks.times) for marks in rows), default=0)
    times = torch.full((len(rows), size), torch.inf, dtype=torch.float64)
    joined = torch.zeros(len(rows), size, dtype=torch.bool)
    for row, marks in enumerate(rows):
        times[row, : len(marks.times)] = marks.times
        joined[row, : len(marks.times)] = marks.joined
    return PitchMarks(times, joined)


def energy_phasor(frames: pitch.Frames, f0: torch.Tensor) -> torch.Tensor:
    """Where in the period the energy of each frame is centred: (B, F) complex64, length 0..1 (how clearly)."""
    if f0.device.type == "cpu":
        rows = [kernels.energy_phasor(*row, frames.rate) for row in zip(frames.samples.numpy(), f0.numpy())]
        return torch.from_numpy(np.stack(rows))
    return _energy_phasor(frames, f0)


def _energy_phasor(frames, f0):
    energy = frames.samples.square()
    offset = torch.arange(energy.size(-1), device=f0.device) - energy.size(-1) // 2
    angle = (2 * math.pi / frames.rate) * f0[..., None] * offset
    total = energy.sum(-1).clamp(min=1e-20)
    return torch.complex((energy * angle.cos()).sum(-1) / total, (energy * angle.sin()).sum(-1) / total)


def _sum_over_neighbours(values, interval):
    """Each frame's value and those up to REACH frames before and behind it in its interval, summed: (B, F) -> (B, F)."""
    frame = torch.arange(interval.size(1), device=interval.device).expand_as(interval)
    change = interval.diff(dim=1) != 0
    first = torch.where(F.pad(change, (1, 0), value=True), frame, 0).cummax(1).values
    last = torch.where(F.pad(change, (0, 1), value=True), frame, interval.size(1)).flip(1).cummin(1).values.flip(1)
    total = F.pad(values.cumsum(1), (1, 0))
    return total.gather(1, (frame + REACH).minimum(last) + 1) - total.gather(1, (frame - REACH).maximum(first))


def _phase(frames, f0, interval, sample_rate):
    """The phase in cycles at the frames' centres, (B, F) float64: whole numbers where periods have their energy."""
    advance = (f0[:, 1:] + f0[:, :-1]).double() / 2 * (frames.step / sample_rate)
    phase = F.pad(advance.cumsum(1), (1, 0))
    turned = energy_phasor(frames, f0).conj() * torch.polar(torch.ones_like(phase), -2 * math.pi * phase)
    smooth = _sum_over_neighbours(_sum_over_neighbours(turned, interval), interval)
    rest = smooth.angle() / (2 * math.pi)
    step = rest.diff(dim=1)
    rest = torch.cat([rest[:, :1], step - step.round()], 1).cumsum(1)
    return phase + rest


def marks_of_contour(
    frames: pitch.Frames, f0: torch.Tensor, lengths: torch.Tensor, sample_rate: float, capacity: int | None
) -> PitchMarks:
    """Pitch marks along a contour. frames: Frames; f0: (B, F) -> PitchMarks (B, capacity)."""
    voiced = (f0 > 0) & frames.valid
    after_voiced = F.pad(voiced[:, :-1], (1, 0))
    interval = (voiced & ~after_voiced).cumsum(1)
    interval = torch.where(voiced, interval, -1)
    phase = _phase(frames, f0, interval, sample_rate)
    half = f0.double() * (frames.step / sample_rate / 2)
    beyond = half.clamp(max=BEYOND)
    before = F.pad(beyond[:, 1:], (1, 0))  # there is nothing before the wave's start
    between = (phase[:, 1:] + phase[:, :-1]) / 2
    before_voiced = F.pad(voiced[:, 1:], (0, 1))
    left = torch.where(after_voiced, F.pad(between, (1, 0)), phase - half - before)
    right = torch.where(before_voiced, F.pad(between, (0, 1)), phase + half + beyond)
    # Two pieces a frame: up to its centre, and on from there; each takes half a step or, at the ends, more.
    start = torch.stack([left, phase], 2).flatten(1)
    end = torch.stack([phase, right], 2).flatten(1)
    longer = torch.stack([before * ~after_voiced, beyond * ~before_voiced], 2) / half.clamp(min=1e-9)[..., None]
    counts = (end.floor() - start.floor()).clamp(min=0).long() * voiced.repeat_interleave(2, 1)
    found = whole_numbers(counts, capacity)
    start, end = start.gather(1, found.piece), end.gather(1, found.piece)
    fraction = (start.floor() + 1 + found.rank - start) / (end - start)
    half_steps = 1 + longer.flatten(1).gather(1, found.piece)
    up_to_centre = found.piece % 2 == 0
    times = found.piece + torch.where(up_to_centre, 1 - (1 - fraction) * half_steps, fraction * half_steps)
    times = times * (frames.step / 2)
    times = (times * RESOLUTION).round() / RESOLUTION
    valid = found.valid & (times < lengths[:, None])
    of_mark = interval.gather(1, found.piece // 2)
    joined = F.pad((of_mark[:, 1:] == of_mark[:, :-1]) & valid[:, 1:], (0, 1)) & valid
    return PitchMarks(torch.where(valid, times, torch.inf), joined)


def find_pitch_marks(
    wave: Wave, sample_rate: float, *, pitch_floor: Numbers | None = None, pitch_ceiling: Numbers | None = None,
    lengths: torch.Tensor | None = None,
) -> PitchMarks:  # fmt: skip
    """Where the periods of the voiced intervals are -> PitchMarks, of one utterance or of a batch.

    wave: (T,) or (B, T) float array or tensor; sample_rate: Hz; lengths: (B,) samples of each row.
    pitch_floor, pitch_ceiling: Hz, the speaker's range, one or one for each row, on the host; None: estimated for each
    utterance. Raises PerturbationError.
    """
    waves = as_waves(wave, lengths)
    rows = len(waves.samples)
    limits = ()
    if pitch_floor is not None or pitch_ceiling is not None:
        floor = per_row("pitch_floor", pitch_floor, rows)
        ceiling = per_row("pitch_ceiling", pitch_ceiling, rows, above=floor)
        limits = (floor, ceiling)
    if not waves.samples.numel():
        marks = pad_marks([NO_MARKS] * rows)
    elif waves.on_host:  # row by row, so that nothing is computed for padding
        marks = [NO_MARKS] * rows
        for row, own in enumerate(waves.rows()):
            if own.size(1):
                one = slice(row, row + 1)
                marks[row] = _find(own, waves.lengths[one], sample_rate, *(limit[one] for limit in limits))
        marks = pad_marks(marks)
    else:
        highest = float(limits[1].max()) if limits else pitch.WIDE_RANGE[1]
        # A period is at most a little shorter than the ceiling's: its place moves with the energy in it.
        capacity = int(1.5 * highest * waves.samples.size(1) / sample_rate) + 2
        marks = _find(waves.masked(waves.samples), waves.lengths, sample_rate, *limits, capacity=capacity)
    return PitchMarks(marks.times[0], marks.joined[0]) if waves.single else marks


def _find(wave, lengths, sample_rate, *limits, capacity=None):
    f0, frames = pitch.f0_contour(wave, lengths, sample_rate, *limits)
    if capacity is not None:
        return marks_of_contour(frames, f0, lengths, sample_rate, capacity)
    return marks_of_row(frames, f0, int(lengths[0]), sample_rate)


def marks_of_row(frames: pitch.Frames, f0: torch.Tensor, length: int, sample_rate: float) -> PitchMarks:
    """`marks_of_contour` for one utterance on the CPU; length: samples -> PitchMarks (M,)."""
    phasor = energy_phasor(frames, f0)
    found = kernels.marks_of_contour(
        phasor[0].numpy(), f0[0].numpy(), frames.valid[0].numpy(), frames.step / 2, float(sample_rate), length, REACH, BEYOND,
        RESOLUTION,
    )  # fmt: skip
    return PitchMarks(*map(torch.from_numpy, found))
