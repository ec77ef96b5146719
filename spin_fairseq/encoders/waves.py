"""Statistics of a wave for the norms of an encoder: its mean and variance, and those of its windows.

The group norm behind the first convolution needs the mean and variance of each channel over the whole wave. A channel is
a product of weights w and windows x of the wave, so its mean is w E[x] and its variance w Cov[x] w: the moments of the
windows, a matrix of kernel x kernel numbers, give both for all channels without a convolution.
"""

from dataclasses import dataclass

import torch

Tensor = torch.Tensor

WINDOWS_AT_ONCE = 1 << 16


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
