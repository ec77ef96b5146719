"""Pitch-synchronous overlap-add (Moulines and Charpentier 1990): which piece of the wave goes where.

A grain is a piece of the source around one place, laid down around another. In voiced intervals grains lie one new period
apart and each takes its piece around the nearest pitch mark, until half a new period after the last one; elsewhere they
lie 8 to 12 ms apart and take it from where they are.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from . import kernels
from .crossings import whole_numbers
from .pitch_marks import PitchMarks

VOICELESS_STEP = 0.01  # s between grains, more or less
JITTER = 0.2  # of that step, at most: equal steps would be heard as a 100-Hz buzz
LOWEST_F0, HIGHEST_F0 = 20.0, 1000.0  # Hz of the new contour
SMALLEST_FRACTION_OF_MEDIAN = 0.25  # of the new contour: large range ratios would take f0 through zero
ON_THE_MARK = 1e-6  # cycles: a grain this near to a mark lies on it
# Places a sample, to which places are rounded first: the last bits do not decide on which sample they fall
GRID = float(2**20)


class Grains(NamedTuple):
    """All (B, G) and in order of time; behind a row's last grain, which lies on its end, copies of that one."""

    target: torch.Tensor  # int64, samples: where the middle of the grain is laid
    source: torch.Tensor  # float64, samples: around which place of the source it is cut out
    left: torch.Tensor  # float32, samples: length of the rising half of its window
    right: torch.Tensor  # float32: of the falling half


def contour_f0(gap: torch.Tensor, voiced: torch.Tensor, sample_rate: float) -> torch.Tensor:
    """f0 of each gap between marks, over its neighbours as well, with half its weight: Hz, 0 where voiceless.

    gap: (B, M) samples; voiced: (B, M) bool -> (B, M). What differs from one period to the next is jitter: no intonation,
    and the range ratio is not to widen it.
    """
    before = torch.where(F.pad(voiced[:, :-1], (1, 0)), F.pad(gap[:, :-1], (1, 0)), gap)
    behind = torch.where(F.pad(voiced[:, 1:], (0, 1)), F.pad(gap[:, 1:], (0, 1)), gap)
    return torch.where(voiced, 4 * sample_rate / (before + 2 * gap + behind), 0.0)


def median_f0(gap_f0: torch.Tensor, gap: torch.Tensor, voiced: torch.Tensor) -> torch.Tensor:
    """The median of f0 over voiced time; 1 where there is none. All (B, M), -> (B, 1)."""
    order = torch.where(voiced, gap_f0, torch.inf).sort(1)
    weight = torch.where(voiced, gap, 0.0).gather(1, order.indices).cumsum(1)
    middle = torch.searchsorted(weight, weight[:, -1:] / 2).clamp(max=weight.size(1) - 1)
    median = order.values.gather(1, middle)
    return torch.where(torch.isfinite(median), median, 1.0)


def new_f0(
    f0: torch.Tensor, median: torch.Tensor, pitch_ratio: torch.Tensor, range_ratio: torch.Tensor
) -> torch.Tensor:
    """The contour asked for: median times `pitch_ratio`, distances from it times `range_ratio` as well. (B, M), (B, 1)s."""
    wanted = median * pitch_ratio
    f0 = wanted * (1 + (f0 / median - 1) * range_ratio)
    return f0.maximum(SMALLEST_FRACTION_OF_MEDIAN * wanted).clamp(LOWEST_F0, HIGHEST_F0)


def _noise(number, seed):
    """Uniform in -1..1, the same on every device: an integer hash of (seed, number). int64 (B, G), (B, 1)."""
    x = (number + 1) * 0x9E3779B1 + seed * 0x85EBCA6B
    for shift, factor in ((16, 0x45D9F3B), (15, 0x2C1B3C6D)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return (x ^ (x >> 16)).double() / 2**31 - 1


def plan_row(
    marks: PitchMarks, length: int, sample_rate: float, formant_ratio: float, pitch_ratio: float, range_ratio: float,
    seed: int,
) -> Grains:  # fmt: skip
    """`plan` for one utterance on the CPU. marks: PitchMarks (1, M); all others are numbers."""
    limits = VOICELESS_STEP, JITTER, LOWEST_F0, HIGHEST_F0, SMALLEST_FRACTION_OF_MEDIAN, ON_THE_MARK, GRID
    found = kernels.plan(
        marks.times[0].numpy(), marks.joined[0].numpy(), length, sample_rate, formant_ratio, pitch_ratio, range_ratio, seed,
        limits,
    )  # fmt: skip
    return Grains(*(torch.from_numpy(values)[None] for values in found))


def plan(
    marks: PitchMarks, lengths: torch.Tensor, sample_rate: float, formant_ratio: torch.Tensor,
    pitch_ratio: torch.Tensor, range_ratio: torch.Tensor, seed: torch.Tensor, capacity: int | None,
) -> Grains:  # fmt: skip
    """Grains for a new pitch contour of the same duration.

    marks: PitchMarks (B, M); lengths: (B,) samples; formant_ratio, pitch_ratio, range_ratio: (B,); seed: (B,) int64;
    capacity: of `whole_numbers`, for the grains of a row.
    """
    end = lengths[:, None].double()
    # Piece k lies between mark k - 1 and mark k; the first starts at the wave's start, the last one ends at its end.
    edges = torch.cat([torch.zeros_like(end), marks.times.minimum(end), end], 1)
    start, stop = edges[:, :-1], edges[:, 1:]
    gap = stop - start
    voiced = F.pad(marks.joined, (1, 0)) & (gap > 0)
    f0 = contour_f0(gap, voiced, sample_rate)
    target_f0 = new_f0(f0, median_f0(f0, gap, voiced), pitch_ratio[:, None], range_ratio[:, None])
    # Where no other pitch is asked for, every period stays as long as it is.
    as_it_is = voiced & (pitch_ratio == 1)[:, None] & (range_ratio == 1)[:, None]
    target_f0 = torch.where(as_it_is, sample_rate / gap, target_f0)

    # An interval lasts until half a new period after its last mark, and no longer than half of the gap that follows.
    last = voiced & ~F.pad(voiced[:, 1:], (0, 1))
    half_period = F.pad(torch.where(last, sample_rate / 2 / target_f0, 0.0)[:, :-1], (1, 0))
    overhang = half_period.minimum(gap / 2)
    voiceless_start, voiceless_gap = start + overhang, gap - overhang
    room = torch.where(last, F.pad(overhang[:, 1:], (0, 1)) * target_f0 / sample_rate, 0.0)

    cycles = torch.where(voiced, gap * target_f0 / sample_rate, 0.0).cumsum(1)
    # Each interval starts with a grain on its first mark, so its cycles count from there.
    base = torch.where(voiced, 0.0, cycles).cummax(1).values
    cycles = cycles - base
    before = torch.where(voiced, F.pad(cycles[:, :-1], (1, 0)), 0.0)
    whole = (before + ON_THE_MARK).floor()
    counts_voiced = (cycles + room + ON_THE_MARK).floor() - whole
    counts_voiceless = (voiceless_gap / (VOICELESS_STEP * sample_rate)).round().clamp(min=1) * (gap > 0)
    counts = torch.where(voiced, counts_voiced, counts_voiceless).long()
    found = whole_numbers(counts, capacity)

    def of(values):
        return values.gather(1, found.piece)

    rank, count = found.rank.double() + 1, of(counts).double()
    jitter = torch.where(
        rank < count, JITTER * _noise(torch.arange(rank.size(1), device=end.device), seed[:, None]), 0.0
    )
    in_voiced = of(voiced)
    fraction = torch.where(in_voiced, (of(whole) + rank - of(before)) / of(cycles - before), (rank + jitter) / count)
    place = of(torch.where(voiced, start, voiceless_start)) + fraction * of(torch.where(voiced, gap, voiceless_gap))
    place = torch.where(found.valid, place.minimum(end), end)
    place = F.pad(place, (1, 0))  # one grain on the very start

    # The nearest mark's number, as an index into `edges`; the later one of two, whatever the rounding.
    mark = F.pad(torch.where(in_voiced & (fraction < 0.5 - ON_THE_MARK), found.piece, found.piece + 1), (1, 0))
    on_mark = F.pad(in_voiced, (1, 0))
    source = torch.where(on_mark, edges.gather(1, mark), place)
    # A grain on a mark takes no more than one period of the source, as it is read, on either side: more would sound as
    # the old pitch.
    period = torch.where(voiced, (gap / formant_ratio[:, None]).ceil(), torch.inf)
    has_mark = F.pad(in_voiced | (rank == count), (1, 0))
    period_before = torch.where(has_mark, F.pad(period, (1, 0), value=torch.inf).gather(1, mark), torch.inf)
    period_after = torch.where(has_mark, F.pad(period, (0, 1), value=torch.inf).gather(1, mark), torch.inf)

    target = ((place * GRID).round() / GRID).round()
    spacing = target.diff(dim=1)
    # Nor does the first grain behind an interval reach back to its last mark, where the new pitch may have no grain.
    behind = F.pad(~in_voiced & (found.rank == 0), (1, 0))
    period_before = torch.where(behind, target - F.pad(of(start).round(), (1, 0)), period_before)
    left = F.pad(spacing, (1, 0)).minimum(period_before)
    right = F.pad(spacing, (0, 1)).minimum(period_after)
    return Grains(target.long(), source, left.float(), right.float())
