"""Laying down grains: at each sample the falling half of one grain and the rising half of the next, never more."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from . import kernels
from .grains import Grains

SHORTEST_HALF = 1e-3  # samples; none lies within it


def _place_in(wave_length, grains, ratio):
    """Places of the grains' sources in the wave once it has been read at `ratio` places a step."""
    return (grains.source / ratio).round().long().clamp(0, wave_length)


def overlap_add_row(wave: torch.Tensor, grains: Grains, ratio: float, length: int) -> torch.Tensor:
    """One row on the CPU. wave: (n,) float32, the source read at `ratio` places a step; grains: (1, G) -> (length,)."""
    source = _place_in(len(wave), grains, ratio)[0].numpy()
    target = grains.target[0].numpy()
    # A half window is no longer than the distance to the next grain.
    room = int(np.diff(target).max(initial=0)) + 1
    out = np.zeros(length, np.float32)
    padded = F.pad(wave, (room, room)).numpy()
    # A half may have no length: that of a grain on the end, when a mark lies there too.
    left, right = (half[0].clamp(min=SHORTEST_HALF).numpy() for half in (grains.left, grains.right))
    kernels.overlap_add(padded, target, source + room, left, right, out)
    return torch.from_numpy(out)


def overlap_add(wave: torch.Tensor, grains: Grains, ratio: torch.Tensor, length: int) -> torch.Tensor:
    """As `overlap_add_row` for a batch on any device. wave: (B, n); ratio: (B,) float64 -> (B, length)."""
    source = _place_in(wave.size(1), grains, ratio[:, None])
    time = torch.arange(length, device=wave.device).repeat(len(wave), 1)
    grain = torch.searchsorted(grains.target, time, right=True) - 1
    padded = F.pad(wave, (1, 1))  # a zero on either side stands for all that lies outside

    def part(grain, half):
        offset = time - grains.target.gather(1, grain)
        window = 0.5 + 0.5 * torch.cos((math.pi * offset.abs() / half.gather(1, grain)).clamp(max=math.pi))
        place = source.gather(1, grain) + offset + 1
        return window * padded.gather(1, place.clamp(0, padded.size(1) - 1))

    last = grains.target.size(1) - 1
    out = part(grain, grains.right) + part((grain + 1).clamp(max=last), grains.left)
    return out.masked_fill(time >= grains.target[:, -1:], 0.0)
