"""Recordings of noise or of rooms, of any length and sample rate: random pieces of them, at 16 kHz."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from ..perturbation.resampling import resample_row
from .audio import SAMPLE_RATE, read_first_channel


class Recordings:
    """Recordings by number.

    path: number -> path of a file, or its place in an archive. count: how many there are.
    """

    def __init__(self, path: Callable[[int], str], count: int):
        self._path, self._count = path, count

    def __len__(self) -> int:
        return self._count

    def crop(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        """A random segment of a random recording, all of them being equally likely: (samples,) float32 at 16 kHz.

        A recording that is shorter is repeated from a random place on. Of several channels the first is taken.

        Raises AudioError: the recording cannot be read.
        """
        path = self._path(int(rng.integers(self._count)))
        place = rng.random()

        def segment(length: int, rate: int) -> tuple[int, int]:
            needed = math.ceil(samples * rate / SAMPLE_RATE) + 1
            return (0, length) if length <= needed else (int(place * (length - needed + 1)), needed)

        wave = at_16_khz(*read_first_channel(path, segment))
        if len(wave) >= samples:
            return wave[:samples]
        return np.resize(np.roll(wave, -int(place * len(wave))), samples)

    def whole(self, rng: np.random.Generator, longest: float) -> np.ndarray:
        """The first `longest` seconds of a random recording: (T,) float32 at 16 kHz. Raises AudioError."""
        path = self._path(int(rng.integers(self._count)))
        return at_16_khz(*read_first_channel(path, lambda length, rate: (0, min(length, int(longest * rate)))))


def at_16_khz(wave: np.ndarray, rate: int) -> np.ndarray:
    """(T,) float32 at `rate` Hz -> (T',) float32, at least one sample."""
    if rate == SAMPLE_RATE:
        return wave
    ratio = rate / SAMPLE_RATE
    return resample_row(torch.from_numpy(wave), ratio, max(1, int(len(wave) / ratio))).numpy()
