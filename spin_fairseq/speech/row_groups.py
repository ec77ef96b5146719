"""Divide the rows of a manifest into groups that are processed together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def row_groups(sizes: np.ndarray, largest: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of consecutive groups, each of total size at most `largest`, or of one row."""
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes):
        start = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, start + largest, side="right")))
        yield begin, end
        begin = end
