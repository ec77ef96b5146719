"""The convolutions of HuBERT and WavLM for extraction: row by row, in short blocks, as products of matrices.

On a CPU this takes about half the time of torch's convolutions, since a block stays in the cache and no large tensor
is made. The group norm behind the first convolution needs each channel's mean and variance over the whole row; with
outer products of the wave's windows summed once, both follow for all channels, without convolving. So the norm is an
affine map known beforehand, which goes into the weights, and a row's result cannot depend on what stands beside it.
"""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

FRAMES_A_BLOCK = {"cpu": 50}  # other devices like large blocks
WINDOWS_AT_ONCE = 1 << 16


class BlockedConvolutions:
    """Takes the place of an encoder's `_convolve`. The encoder's weights are copied: for inference alone.

    Raises ValueError for a feature extractor of another form than fairseq's two.
    """

    def __init__(self, encoder):
        self.sizes = [(kernel, stride) for _, kernel, stride in encoder.conv_layers]
        self.layers = []
        self.norm = None  # the group norm behind the first convolution
        for index, block in enumerate(encoder.feature_extractor.conv_layers):
            conv, _, *norm, activation = block
            if not isinstance(activation, nn.GELU) or conv.groups != 1 or any(conv.padding):
                raise ValueError(f"convolution {index} is not followed by GELU alone, or has groups or padding")
            norm = norm[0] if norm else None
            if isinstance(norm, nn.GroupNorm) and index == 0 and norm.num_groups == norm.num_channels:
                self.norm, norm = norm, None
            elif norm is not None:
                norm = norm[1]  # between two transpositions
                if not isinstance(norm, nn.LayerNorm):
                    raise ValueError(f"convolution {index} has a {type(norm).__name__}")
            weight = conv.weight.detach().float()  # (out, in, kernel)
            bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach().float()
            self.layers.append(([weight[:, :, k].t().contiguous() for k in range(weight.size(2))], bias, norm))
        self.first = torch.cat(self.layers[0][0])  # (kernel, width): one input channel
        self._affine = None

    def __call__(self, source, lengths=None):
        """source: (B, T); lengths: (B,) samples of each row, or None -> (B, frames, width), frames of each row or None."""
        rows = [wave[:length] for wave, length in zip(source, lengths.tolist())] if lengths is not None else source
        found = [self._convolve(wave.float()) for wave in rows]
        if lengths is None:
            return torch.stack(found), None
        counts = torch.tensor([len(row) for row in found], device=source.device)
        frames = self._frames(source.size(1))
        return torch.stack([F.pad(row, (0, 0, 0, frames - len(row))) for row in found]), counts

    @contextmanager
    def stretches_of(self, wave):
        """Inside, rows are stretches of this wave, (T,), and are normalised with its statistics, not with their own."""
        self._affine = self._first_layer(wave.float())
        try:
            yield
        finally:
            self._affine = None

    def _frames(self, samples):
        for kernel, stride in self.sizes:
            samples = (samples - kernel) // stride + 1
        return samples

    def _windows(self, wave, begin=0, count=None):
        kernel, stride = self.sizes[0]
        count = (len(wave) - kernel) // stride + 1 if count is None else count
        return wave.as_strided((count, kernel), (stride, 1), wave.storage_offset() + begin)

    def _first_layer(self, wave):
        """-> weight (kernel, width) and bias (width,) of the first convolution, its group norm included."""
        bias = self.layers[0][1]
        if self.norm is None:
            return self.first, bias
        windows = self._windows(wave)
        products = wave.new_zeros(windows.size(1), windows.size(1), dtype=torch.float64)
        total = wave.new_zeros(windows.size(1), dtype=torch.float64)
        for part in windows.split(WINDOWS_AT_ONCE):
            part = part.double()
            products += part.t() @ part
            total += part.sum(0)
        weight, mean = self.first.double(), total / len(windows)
        centred = products / len(windows) - mean[:, None] * mean
        variance = (weight * (centred @ weight)).sum(0).clamp(min=0.0)
        scale = self.norm.weight.double() * torch.rsqrt(variance + self.norm.eps)
        return (weight * scale).float(), (self.norm.bias.double() - mean @ weight * scale).float()

    def _convolve(self, wave):
        """(T,) -> (frames, width)."""
        wave = wave.contiguous()
        weight, bias = self._affine or self._first_layer(wave)
        frames, block = self._frames(len(wave)), FRAMES_A_BLOCK.get(wave.device.type, 3000)
        result = wave.new_empty(frames, self.layers[-1][0][0].size(1))
        hop = self.hop
        for begin in range(0, frames, block):
            count = min(block, frames - begin)
            needed = count
            for kernel, stride in self.sizes[:0:-1]:
                needed = (needed - 1) * stride + kernel
            x = torch.addmm(bias, self._windows(wave, begin * hop, needed), weight)
            x = F.gelu(self._norm(0, x))
            for index in range(1, len(self.layers)):
                x = F.gelu(self._norm(index, self._multiply(index, x)))
            result[begin : begin + count] = x
        return result

    @property
    def hop(self):
        """Samples from one frame to the next."""
        hop = 1
        for _, stride in self.sizes:
            hop *= stride
        return hop

    def _multiply(self, index, x):
        """Convolution `index` of x, (T, in): one product for each tap, of rows that are `stride` apart."""
        taps, bias, _ = self.layers[index]
        kernel, stride = self.sizes[index]
        count = (len(x) - kernel) // stride + 1
        result = torch.addmm(bias, x[: (count - 1) * stride + 1 : stride], taps[0])
        for k in range(1, kernel):
            result.addmm_(x[k : k + (count - 1) * stride + 1 : stride], taps[k])
        return result

    def _norm(self, index, x):
        norm = self.layers[index][2]
        return x if norm is None else F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)

