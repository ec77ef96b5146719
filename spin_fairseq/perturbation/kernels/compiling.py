"""How the kernels are compiled."""

from typing import Any
from collections.abc import Callable

from numba import njit

# Sums may be taken in any order, so that they are vectorised; NaN and infinity keep their meaning.
OPTIONS = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


def compiled(function: Callable, options: dict[str, Any] = OPTIONS) -> Callable:
    try:
        return njit(function, cache=True, **options)
    except RuntimeError:  # no folder to keep the result in
        return njit(function, **options)


def in_order(function: Callable) -> Callable:
    """What is rounded to whole numbers at last is computed in the order in which it is written, as its twin does."""
    return compiled(function, {"nogil": True})


def inlined(function: Callable) -> Callable:
    """A part of what calls it. As a function of its own it is optimised otherwise in the process that compiles it than
    in those that find it on disk, and a training would not be repeatable to the last bit."""
    return njit(function, inline="always", **OPTIONS)
