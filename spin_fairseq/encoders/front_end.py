"""The convolutional front end: a wave to one vector a frame (20 ms in the released models).

Whole, it is torch's convolutions. In blocks it is products of matrices, row by row: on a CPU that takes about half the
time, since a block stays in the cache and no large tensor is made. A group norm behind the first convolution becomes an
affine map that is known beforehand from the moments of the wave (see `waves`), so that padding and blocks change nothing.
"""

from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..modules.precision import at_least_float32
from ..modules.products import as_weight, linear, overlapping_rows_pay
from .config import EncoderConfig
from .layout import Progress
from .waves import WaveStatistics

Tensor = torch.Tensor
Lengths = TypeVar("Lengths", int, np.ndarray, Tensor)

FRAMES_A_BLOCK = {"cpu": 50}  # other devices like large blocks
FRAMES_A_LARGE_BLOCK = 3000
WINDOW_MULTIPLE = 8  # of a product's inner width: what the matrix units of GPUs want


class ConvolutionLayer(nn.ModuleDict):
    """A convolution, its norm and GELU, under fairseq's names: "0" the convolution, "2" a group norm, "2.1" a layer norm."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int, norm: str | None, bias: bool) -> None:
        conv = nn.Conv1d(inputs, width, kernel, stride=stride, bias=bias)
        nn.init.kaiming_normal_(conv.weight)
        super().__init__({"0": conv})
        if norm == "group":
            self["2"] = nn.GroupNorm(width, width)
        elif norm == "layer":
            self["2"] = nn.ModuleDict({"1": nn.LayerNorm(width)})
        self.norm = norm

    @property
    def conv(self) -> nn.Conv1d:
        return self["0"]

    def forward(self, x: Tensor, affine: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """x: (B, inputs, T) -> (B, width, frames). affine: the group norm as scale and shift, (B or 1, width, 1) each."""
        if affine is not None:
            return F.gelu(self._convolve_and_norm(x, *affine))
        x = self._convolve(x)
        if self.norm == "group":
            norm, wide = self["2"], at_least_float32(x)
            weight, bias = norm.weight.to(wide.dtype), norm.bias.to(wide.dtype)
            x = F.group_norm(wide, norm.num_groups, weight, bias, norm.eps).to(x.dtype)
        elif self.norm == "layer":
            x = self.layer_norm(x.transpose(1, 2)).transpose(1, 2)
        return F.gelu(x)

    def _convolve(self, x: Tensor) -> Tensor:
        """The convolution alone. On a GPU, in half precision, its result lies in memory frame by frame, as cuDNN computes it;
        torch's convolution of one dimension would turn each input round, and each result back."""
        conv = self.conv
        if x.is_cuda and x.dtype in (torch.float16, torch.bfloat16) and conv.in_channels > 1:
            weight = conv.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
            return F.conv2d(x.unsqueeze(2), weight, conv.bias, (1, conv.stride[0])).squeeze(2)
        return conv(as_weight(x, conv.weight))

    def _convolve_and_norm(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """The convolution of waves (B, 1, T) and its group norm, an affine map that goes into each row's weight.

        So the largest tensor of the encoder is written once, in the precision of the wave, and read once by what follows.
        The result, (B, width, frames), lies in memory frame by frame.
        """
        conv = self.conv
        weight = conv.weight.squeeze(1) * scale  # (B or 1, width, kernel) in the precision of the affine map
        bias = shift if conv.bias is None else shift + conv.bias.unsqueeze(1) * scale
        windows = x.squeeze(1).unfold(1, conv.kernel_size[0], conv.stride[0])
        rows = (len(windows), -1, -1)
        weight, bias = (each.to(x.dtype).transpose(1, 2) for each in (weight, bias))
        if not x.is_cuda:
            return torch.baddbmm(bias.expand(rows), windows, weight.expand(rows)).transpose(1, 2)
        # The bias as one row more of the weight, so that the result is written once; and rows of zeros, to an even width.
        more = -(-(windows.size(2) + 1) // WINDOW_MULTIPLE) * WINDOW_MULTIPLE - windows.size(2)
        ones = F.pad(windows.new_ones(1), (0, more - 1)).expand(*windows.shape[:2], more)
        weight = torch.cat([weight, F.pad(bias, (0, 0, 0, more - 1))], 1)
        return torch.bmm(torch.cat([windows, ones], 2), weight.expand(rows)).transpose(1, 2)

    def layer_norm(self, x: Tensor) -> Tensor:
        """x: (..., width), of any precision, normalised in float32 at least."""
        norm, wide = self["2"]["1"], at_least_float32(x)
        weight, bias = norm.weight.to(wide.dtype), norm.bias.to(wide.dtype)
        return F.layer_norm(wide, norm.normalized_shape, weight, bias, norm.eps).to(x.dtype)

    def affine(self, statistics: WaveStatistics) -> tuple[Tensor, Tensor]:
        """The group norm of this convolution of waves with these moments: scale and shift, (rows, width, 1) float64."""
        weight = self.conv.weight.squeeze(1).double()  # (width, kernel): a wave is one channel
        norm = self["2"]
        mean = statistics.window_mean @ weight.t()
        if self.conv.bias is not None:
            mean = mean + self.conv.bias.double()
        variance = ((statistics.window_covariance @ weight.t()) * weight.t()).sum(1).clamp(min=0.0)
        scale = norm.weight.double() * torch.rsqrt(variance + norm.eps)
        return scale.unsqueeze(-1), (norm.bias.double() - mean * scale).unsqueeze(-1)

    def matrices(self) -> list[Tensor]:
        """The weight as matrices (width, taps x inputs): as one where `linear` takes windows that overlap; elsewhere, of
        as many taps each as lie side by side without overlap."""
        weight, stride = self.conv.weight.transpose(1, 2), self.conv.stride[0]
        taps = weight.size(1) if weight.size(2) == 1 or overlapping_rows_pay(weight) else stride
        return [some.flatten(1) for some in weight.split(taps, 1)]

    def multiply(self, x: Tensor, matrices: list[Tensor], bias: Tensor) -> Tensor:
        """The convolution of x, (T, inputs) and contiguous, its layer norm and GELU -> (frames, width)."""
        kernel, stride, width = self.conv.kernel_size[0], self.conv.stride[0], x.size(1)
        x = as_weight(x, matrices[0])
        frames, begin, result = (len(x) - kernel) // stride + 1, x.storage_offset(), None
        for matrix in matrices:
            windows = x.as_strided((frames, matrix.size(1)), (stride * width, 1), begin)
            begin += matrix.size(1)
            if len(matrices) == 1 and self.norm != "layer":
                return linear(windows, matrix, bias, gelu=True)
            if result is None:
                result = linear(windows, matrix, bias)
            elif result.dtype == x.dtype == matrix.dtype:
                result.addmm_(windows, matrix.t())
            else:  # under autocast
                result = torch.addmm(result, windows, matrix.t())
        return F.gelu(self.layer_norm(result) if self.norm == "layer" else result)


class FrontEnd(nn.Module):
    """All the convolutions. Waves (B, T) in, frames (B, frames, width) out."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        large_form = config.extractor_mode == "layer_norm"
        inputs, layers = 1, []
        for index, (width, kernel, stride) in enumerate(config.conv_layers):
            norm = "layer" if large_form else "group" if index == 0 else None
            layers.append(ConvolutionLayer(inputs, width, kernel, stride, norm, config.conv_bias))
            inputs = width
        self.conv_layers = nn.ModuleList(layers)
        self.width = inputs
        self.sizes = [(kernel, stride) for _, kernel, stride in config.conv_layers]
        self.has_group_norm = not large_form

    def forward(self, wave: Tensor, statistics: WaveStatistics | None = None) -> Tensor:
        """wave: (B, T) -> (B, frames, width). statistics: what the group norm goes by; None: by the rows as they are."""
        x = wave.unsqueeze(1)
        for index, layer in enumerate(self.conv_layers):
            affine = None
            if index == 0 and self.has_group_norm and statistics is not None:
                affine = [each.to(at_least_float32(x).dtype) for each in layer.affine(statistics)]
            x = layer(x, affine)
        return x.transpose(1, 2).to(wave.dtype)

    def prepared(self) -> list[list[Tensor]]:
        """The weights as `in_blocks` takes them."""
        return [layer.matrices() for layer in self.conv_layers]

    def in_blocks(
        self, wave: Tensor, statistics: WaveStatistics | None, prepared: list[list[Tensor]], progress: Progress = None
    ) -> Tensor:
        """One wave, (T,) -> (frames, width). For what no gradient flows through.

        statistics: of one row. progress: called behind each block with the number of its frames.
        """
        biases = [
            layer.conv.bias if layer.conv.bias is not None else layer.conv.weight.new_zeros(layer.conv.out_channels)
            for layer in self.conv_layers
        ]
        if self.has_group_norm:  # a part of the first convolution, then
            scale, shift = (each.flatten() for each in self.conv_layers[0].affine(statistics))
            biases[0] = (shift + biases[0] * scale).to(wave.dtype)
            first = [(matrix * scale.unsqueeze(1)).to(wave.dtype) for matrix in prepared[0]]
            prepared = [first, *prepared[1:]]
        frames, hop = self.output_lengths(len(wave)), self.hop
        block = FRAMES_A_BLOCK.get(wave.device.type, FRAMES_A_LARGE_BLOCK)
        result, wave = None, wave.contiguous()
        for begin in range(0, frames, block):
            count = min(block, frames - begin)
            samples = count
            for kernel, stride in self.sizes[::-1]:
                samples = (samples - 1) * stride + kernel
            x = wave[begin * hop : begin * hop + samples].unsqueeze(1)
            for layer, matrices, bias in zip(self.conv_layers, prepared, biases):
                x = layer.multiply(x, matrices, bias)
            if result is None:
                result = wave.new_empty(frames, x.size(1))
            result[begin : begin + count] = x
            if progress:
                progress(count)
        return result if result is not None else wave.new_empty(0, self.width)

    def output_lengths(self, samples: Lengths) -> Lengths:
        """Frames of so many samples: int or int tensor in, the same out."""
        for kernel, stride in self.sizes:
            samples = (samples - kernel) // stride + 1
        return samples

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        hop = 1
        for _, stride in self.sizes:
            hop *= stride
        return hop
