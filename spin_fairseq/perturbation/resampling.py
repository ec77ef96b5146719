"""Reading a wave at other places than its samples: band-limited interpolation by a windowed sinc."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from . import kernels

ZERO_CROSSINGS = 10  # of the sinc on either side
PHASES = 64  # rows of the table; coefficients between them are interpolated (error below 1e-5)
TAPS_MULTIPLE = 8  # what vector units like
TAPS_AT_ONCE = 4  # on a device: fewer and larger operations, of more memory


def interpolation_table(ratio: torch.Tensor, taps: int) -> torch.Tensor:
    """Coefficients for reading at a fraction p / PHASES behind a sample: (B, PHASES + 1, taps) float32.

    ratio: (B,) float64, places a step; above 1 the pass band shrinks accordingly, so that nothing is aliased.
    Tap i is the sample i - taps / 2 + 1 behind the one before the place.
    """
    fraction = torch.arange(PHASES + 1, device=ratio.device, dtype=torch.float64) / PHASES
    distance = torch.arange(taps, device=ratio.device) - (taps // 2 - 1) - fraction[:, None]
    cutoff = (1 / ratio).clamp(max=1.0)[:, None, None]
    crossing = cutoff * distance
    window = torch.cos(math.pi / 2 * (crossing / ZERO_CROSSINGS).clamp(-1.0, 1.0)).square()
    table = torch.sinc(crossing) * window
    return (table / table.sum(-1, keepdim=True)).float()


def taps_for(largest_ratio: float) -> int:
    return -(-2 * math.ceil(ZERO_CROSSINGS * max(1.0, largest_ratio)) // TAPS_MULTIPLE) * TAPS_MULTIPLE


def resample_row(wave: torch.Tensor, ratio: float, length: int) -> torch.Tensor:
    """(n,) float32 on the CPU -> (length,): the wave at places m * ratio, m = 0 .. length - 1, 0 outside it."""
    if ratio == 1.0 and length == len(wave):
        return wave
    taps = taps_for(ratio)
    table = interpolation_table(torch.tensor([ratio], dtype=torch.float64), taps)[0]
    behind = max(0, math.ceil(length * ratio) - len(wave)) + taps
    out = np.empty(length, np.float32)
    padded = F.pad(wave, (taps, behind)).numpy()
    kernels.resample(padded, float(ratio), table.numpy(), table.diff(dim=0).numpy(), out)
    return torch.from_numpy(out)


def resample(wave: torch.Tensor, lengths: torch.Tensor, ratio: torch.Tensor, length: int, taps: int) -> torch.Tensor:
    """As `resample_row` for a batch on any device: (B, T) -> (B, length), of which row b has lengths[b] / ratio[b].

    ratio: (B,) float64; taps: `taps_for` the largest of them.
    """
    rows = torch.arange(len(wave), device=wave.device)[:, None]
    place = torch.arange(length, device=wave.device) * ratio[:, None]
    whole = place.floor()
    phase = (place - whole) * PHASES
    row = phase.floor().clamp(max=PHASES - 1)
    fraction = (phase - row).float()[:, :, None]
    row = (row.long() + (PHASES + 1) * rows) * taps
    wave = F.pad(wave, (taps, taps))
    start = (whole.long() + (taps // 2 + 1)).clamp(max=wave.size(1) - taps) + wave.size(1) * rows
    del whole, phase
    table = interpolation_table(ratio, taps)
    slope = F.pad(table.diff(dim=1), (0, 0, 0, 1))
    # Windows that overlap: a GPU copies rows of a table, which are that short, fifteen times as slowly.
    wave, table, slope = (each.flatten().unfold(0, TAPS_AT_ONCE, 1) for each in (wave, table, slope))
    out = place.new_zeros((*place.shape, TAPS_AT_ONCE), dtype=torch.float32)
    for tap in range(0, taps, TAPS_AT_ONCE):
        coefficients = table[row + tap].addcmul_(fraction, slope[row + tap])
        out.addcmul_(coefficients, wave[start + tap])
    return out.sum(-1).masked_fill(place >= lengths[:, None], 0.0)
