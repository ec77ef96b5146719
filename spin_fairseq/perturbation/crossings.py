"""Where a phase that grows piecewise linearly passes whole numbers: pitch marks in an f0 contour, grains in a new one."""

from typing import NamedTuple

import torch


class Crossings(NamedTuple):
    """Whole numbers in the order of time; shapes (B, M)."""

    piece: torch.Tensor  # int64: the piece in which it falls
    rank: torch.Tensor  # int64: 0 for the first of its piece, 1 for the second, ...
    valid: torch.Tensor  # bool: the row has so many


def whole_numbers(counts: torch.Tensor, capacity: int | None) -> Crossings:
    """counts: (B, P) int64, how many fall into each piece -> Crossings with M = capacity, a host number.

    Rows with more than `capacity` lose their last ones. None: what the fullest row needs, which a device must be asked.
    """
    until = counts.cumsum(1)
    if capacity is None:
        capacity = int(until[:, -1].max())
    number = torch.arange(capacity, device=counts.device).repeat(len(counts), 1)
    piece = torch.searchsorted(until, number, right=True).clamp(max=counts.size(1) - 1)
    rank = number - (until - counts).gather(1, piece)
    return Crossings(piece, rank, number < until[:, -1:])
