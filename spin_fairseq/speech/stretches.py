"""Rows of a manifest that are worked on together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def stretches(sizes: np.ndarray, largest: int) -> Iterator[tuple[int, int]]:
    """Follow each other, their sizes together at most `largest`, or one row's: (begin, end)."""
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes):
        start = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, start + largest, side="right")))
        yield begin, end
        begin = end
