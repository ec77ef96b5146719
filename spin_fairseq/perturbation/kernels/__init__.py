"""The inner loops for the CPU, compiled by numba. Each has a twin in torch, which other devices use, and a test against it.

numba compiles a function when it is first called, which takes seconds, and keeps the result on disk.
"""

from .equalizer import SEGMENTS, cascade, cascade_side_by_side
from .grains import plan
from .pitch import track
from .pitch_marks import energy_phasor, marks_of_contour
from .synthesis import overlap_add, resample

__all__ = [
    "SEGMENTS",
    "cascade",
    "cascade_side_by_side",
    "energy_phasor",
    "marks_of_contour",
    "overlap_add",
    "plan",
    "resample",
    "track",
]
