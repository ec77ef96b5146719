"""Statistics of a wave for the norms of an encoder: its mean and variance, and those of its windows.

The group norm behind the first convolution needs the mean and variance of each channel over the whole wave. A channel is
a product of weights w and windows x of the wave, so its mean is w E[x] and its variance w Cov[x] w: the moments of the
windows, a matrix of kernel x kernel numbers, give both for all channels without a convolution.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import torch

Tensor = torch.Tensor

WINDOWS_AT_ONCE = 1 << 16
MOST_PIECES = 64  # that a limited memory is divided into


@dataclass(frozen=True)
class WaveStatistics:
    """Float64, a row for each wave, or one row for pieces of one wave.

    mean, variance: (rows, 1), of the samples. window_mean: (rows, kernel), window_covariance: (rows, kernel, kernel), of
    the windows that the first convolution sees; None where no norm asks for them.
    """

    mean: Tensor
    variance: Tensor
    window_mean: Tensor | None = None
    window_covariance: Tensor | None = None

    def change(self, other: "WaveStatistics") -> float:
        """How much others differ: the largest relative change of a variance or covariance, or of a mean's square. One row each."""
        moments = [(self.mean, self.variance, other.mean, other.variance)]
        if self.window_mean is not None:
            moments += [(self.window_mean, self.window_covariance, other.window_mean, other.window_covariance)]
        changes = []
        for mean, spread, other_mean, other_spread in moments:
            size = spread.norm().clamp(min=torch.finfo(spread.dtype).tiny)
            changes += [(spread - other_spread).norm() / size, (mean - other_mean).square().mean() / size]
        return float(torch.stack(changes).max())

    def row(self, index: int) -> "WaveStatistics":
        if len(self.mean) == 1:
            return self
        moments = (self.mean, self.variance, self.window_mean, self.window_covariance)
        return WaveStatistics(*(None if each is None else each[index : index + 1] for each in moments))


def wave_statistics(wave: Tensor, lengths: Tensor | None, kernel: int, stride: int, windows: bool) -> WaveStatistics:
    """wave: (B, T); lengths: (B,) samples that are no padding, int64, or None for all; windows: whether to look at them.

    Padding has no part in any of it.
    """
    outside = None
    if lengths is not None:
        outside = torch.arange(wave.size(1), device=wave.device) >= lengths[:, None]
    x = wave.double() if outside is None else wave.double().masked_fill(outside, 0.0)
    count = x.size(1) if lengths is None else lengths[:, None].double()
    mean = x.sum(1, keepdim=True) / count
    x = x - mean
    if outside is not None:
        x = x.masked_fill(outside, 0.0)
    variance = x.square().sum(1, keepdim=True) / count
    if not windows:
        return WaveStatistics(mean, variance)
    frames = x.unfold(1, kernel, stride)
    if lengths is None:
        count = torch.full((1, 1), float(frames.size(1)), dtype=x.dtype, device=x.device)
    else:
        valid = (lengths - kernel).div(stride, rounding_mode="floor") + 1
        count = valid[:, None].double()
        frames = frames * (torch.arange(frames.size(1), device=x.device) < valid[:, None]).unsqueeze(-1)
    total = x.new_zeros(len(x), kernel)
    products = x.new_zeros(len(x), kernel, kernel)
    for part in frames.split(WINDOWS_AT_ONCE, 1):
        part = part.contiguous()
        total = total + part.sum(1)
        products = torch.baddbmm(products, part.transpose(1, 2), part)
    centre = total / count
    covariance = products / count.unsqueeze(-1) - centre.unsqueeze(2) * centre.unsqueeze(1)
    return WaveStatistics(mean, variance, centre + mean, covariance)


class _Moments(NamedTuple):
    """count: of vectors of `size` numbers; mean: (size,), covariance: (size, size), float64."""

    count: int
    mean: Tensor
    covariance: Tensor

    def with_others(self, other: "_Moments") -> "_Moments":
        """Of both sets together (Chan, Golub and LeVeque, 1979)."""
        count = self.count + other.count
        if count == 0:
            return self
        weight = other.count / count
        apart = other.mean - self.mean
        covariance = torch.lerp(self.covariance, other.covariance, weight)
        covariance = covariance + weight * (1.0 - weight) * torch.outer(apart, apart)
        return _Moments(count, self.mean + weight * apart, covariance)


class RunningStatistics:
    """`wave_statistics` of one wave that comes in pieces, in memory that does not grow with it.

    kernel, stride, windows: as of `wave_statistics`. memory: only the last samples count, at least so many of them, and one
    piece more at most; None: all of the wave.
    """

    def __init__(self, kernel: int, stride: int, windows: bool, memory: int | None = None) -> None:
        self.kernel, self.stride, self.windows, self.memory = kernel, stride, windows, memory
        self._pieces: deque[tuple[_Moments, _Moments]] = deque()
        self._behind = torch.zeros(0)  # samples from the first window on that is not complete yet

    def add(self, piece: Tensor) -> None:
        """piece: (T,), what follows the pieces before."""
        if len(piece) == 0:
            return
        found = (self._of_samples(piece), self._of_windows(piece))
        if self._pieces and (self.memory is None or self._pieces[-1][0].count < self.memory / MOST_PIECES):
            before = self._pieces.pop()
            found = (before[0].with_others(found[0]), before[1].with_others(found[1]))
        self._pieces.append(found)
        if self.memory is not None:
            samples = sum(of_samples.count for of_samples, _ in self._pieces)
            while samples - self._pieces[0][0].count >= self.memory:
                samples -= self._pieces.popleft()[0].count

    def statistics(self) -> WaveStatistics:
        """Of what was added, which must be one window of samples at least. One row."""
        samples, windows = self._pieces[0]
        for of_samples, of_windows in list(self._pieces)[1:]:
            samples, windows = samples.with_others(of_samples), windows.with_others(of_windows)
        if not self.windows:
            return WaveStatistics(samples.mean[None], samples.covariance)
        return WaveStatistics(samples.mean[None], samples.covariance, windows.mean[None], windows.covariance[None])

    def _of_samples(self, piece: Tensor) -> _Moments:
        found = wave_statistics(piece[None], None, self.kernel, self.stride, False)
        return _Moments(len(piece), found.mean[0], found.variance)

    def _of_windows(self, piece: Tensor) -> _Moments:
        if not self.windows:
            return _Moments(0, piece.new_zeros(1), piece.new_zeros(1, 1))
        wave = torch.cat([self._behind.to(piece), piece])
        count = max(0, (len(wave) - self.kernel) // self.stride + 1)
        self._behind = wave[count * self.stride :].clone()
        if count == 0:
            zeros = torch.zeros(self.kernel, self.kernel, dtype=torch.float64, device=piece.device)
            return _Moments(0, zeros[0], zeros)
        found = wave_statistics(wave[None], None, self.kernel, self.stride, True)
        return _Moments(count, found.window_mean[0], found.window_covariance[0])
