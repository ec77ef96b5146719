"""Where a frame is: the positional convolution of HuBERT and WavLM, and WavLM's bias by relative position."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ConfigError
from .config import EncoderConfig
from .layout import Packed, Padded, Span

Tensor = torch.Tensor

FRAMES_OF_A_SPECTRUM = 2000  # 40 s; longer rows are convolved in chunks
LONGEST_WHOLE_BIAS = 1000  # frames; 20 s. Of longer utterances the bias is made for a block of queries at a time


class WeightNormedConvolution(nn.Module):
    """A grouped convolution whose weight is g v / |v|, with |v| over all but the taps; fairseq's names of tensors."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        weight = torch.empty(width, width // groups, kernel).normal_(std=math.sqrt(4.0 / (kernel * width)))
        self.bias = nn.Parameter(torch.zeros(width))
        self.weight_g = nn.Parameter(weight.norm(dim=(0, 1), keepdim=True))
        self.weight_v = nn.Parameter(weight)

    @property
    def weight(self) -> Tensor:
        return torch._weight_norm(self.weight_v, self.weight_g, 2)  # what torch.nn.utils.weight_norm calls


def correlate_by_spectrum(x: Tensor, weight: Tensor, groups: int, reach: int) -> Tensor:
    """A grouped convolution by FFT, in float32. For GPUs: in half precision cuDNN's takes 40 times as long.

    x: (rows, frames, width); weight: (width, width / groups, taps). -> as x: frame t from frames t - reach to
    t - reach + taps - 1, and zeros outside. Long rows are cut into chunks, so that the weight's spectrum stays small.
    """
    rows, frames, width = x.shape
    around, count = weight.size(2) - 1, -(-frames // FRAMES_OF_A_SPECTRUM)
    chunk = -(-frames // count)
    unit = 1 << max(0, (chunk + around).bit_length() - 3)
    size = -(-(chunk + around) // unit) * unit  # 4 to 8 times a power of two: no large prime, and few sizes to plan for
    x = F.pad(x, (0, 0, reach, around - reach + count * chunk - frames))
    chunks = x.unfold(1, chunk + around, chunk).transpose(2, 3).flatten(0, 1)  # (rows * count, chunk + around, width)
    wave = torch.fft.rfft(chunks.float(), size, dim=1).unflatten(2, (groups, -1))
    taps = torch.fft.rfft(weight.float(), size).conj().unflatten(0, (groups, -1))
    found = torch.einsum("bfgi,goif->bfgo", wave, taps).flatten(2)
    found = torch.fft.irfft(found, size, dim=1)[:, :chunk].reshape(rows, count * chunk, width)
    return found[:, :frames].to(x.dtype)


class PositionalConvolution(nn.ModuleDict):
    """What is added to each frame by what stands around it. fairseq's names: "0" the convolution; with a batch norm, "0"
    is that norm and "1" the convolution. Its statistics are those of pre-training, in training too."""

    def __init__(self, config: EncoderConfig) -> None:
        width, kernel, groups = config.encoder_embed_dim, config.conv_pos, config.conv_pos_groups
        if config.conv_pos_batch_norm:
            conv = nn.Conv1d(width, width, kernel, groups=groups)
            nn.init.normal_(conv.weight, std=math.sqrt(4.0 / (kernel * width)))
            nn.init.zeros_(conv.bias)
            super().__init__({"0": nn.BatchNorm1d(width), "1": conv})
        else:
            super().__init__({"0": WeightNormedConvolution(width, kernel, groups)})
        self.reach = kernel // 2
        self.even = kernel % 2 == 0

    def forward(self, x: Tensor, layout: Padded | Packed, block: int | None = None) -> Tensor:
        """x: (rows, frames, width) in this layout -> what is to be added, as x. block: frames at a time, or None."""
        if len(self) == 2:
            norm = self["0"]
            x = F.batch_norm(x.flatten(0, 1), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)\
                .view_as(x)  # fmt: skip
        conv = self[str(len(self) - 1)]
        x, weight = layout.with_gaps(x, self.reach), conv.weight
        if x.is_cuda:
            y = F.gelu(correlate_by_spectrum(x, weight, conv.groups, self.reach) + conv.bias)
            if layout.progress:
                layout.progress(1.0)
            return layout.without_gaps(y, self.reach)
        if block is None or x.size(1) <= block:  # as an export wants it
            y = F.conv1d(x.transpose(1, 2), weight, conv.bias, padding=self.reach, groups=conv.groups)
            y = F.gelu((y[:, :, :-1] if self.even else y).transpose(1, 2))
            if layout.progress:
                layout.progress(1.0)
            return layout.without_gaps(y, self.reach)
        frames, around, found = x.size(1), weight.size(2) - 1, []
        x = F.pad(x, (0, 0, self.reach, self.reach - self.even))
        for begin in range(0, frames, block):
            some = x[:, begin : begin + block + around].transpose(1, 2)
            found.append(F.gelu(F.conv1d(some, weight, conv.bias, groups=conv.groups).transpose(1, 2)))
            if layout.progress:
                layout.progress(found[-1].size(1) / frames)
        return layout.without_gaps(torch.cat(found, 1), self.reach)


class RelativePositionBias(nn.Embedding):
    """A bias for each bucket of distances and each head; weight: (num_buckets, heads)."""

    def __init__(self, num_buckets: int, heads: int, max_distance: int) -> None:
        if not 4 <= num_buckets < 4 * max_distance:
            raise ConfigError(f"num_buckets is {num_buckets}: it must be at least 4, and below 4 times max_distance")
        super().__init__(num_buckets, heads)
        self.max_distance = max_distance

    def buckets(self, distances: Tensor) -> Tensor:
        """Key's minus query's position, int64 of any shape -> its bucket, of the same shape.

        Half of the buckets are for keys behind the query. In each half, the first half holds one distance each; the
        widths of the others grow, logarithmically up to max_distance (WavLM, equation 5).
        """
        half = self.num_embeddings // 2
        exact = half // 2
        size = distances.abs()
        growth = torch.log(size.clamp(min=exact).float() / exact) / math.log(self.max_distance / exact)
        far = exact + (growth * (half - exact)).long()
        return half * (distances > 0) + torch.where(size < exact, size, far.clamp(max=half - 1))

    def forward(self, length: int, first: int = 0, last: int | None = None) -> Tensor:
        """For each head the bias of queries first..last - 1 and all keys of an utterance: -> (heads, queries, length)."""
        last = length if last is None else last
        device = self.weight.device
        values = super().forward(self.buckets(torch.arange(1 - last, length - first, device=device)))
        # The bias depends on the distance alone: each is looked up once, and then laid out.
        queries, keys = torch.arange(first, last, device=device), torch.arange(length, device=device)
        return values.t()[:, keys - queries[:, None] + last - 1]


class PositionBias:
    """The relative position bias of one pass, for any part of any utterance; all layers share it.

    longest: frames of the longest utterance. block: queries that attend at a time, None for all.
    """

    def __init__(self, table: RelativePositionBias, longest: int, block: int | None) -> None:
        self.table = table
        self.whole = table(longest) if block is None or longest <= LONGEST_WHOLE_BIAS else None

    def of(self, span: Span) -> Tensor:
        """-> (heads, queries, keys)."""
        if self.whole is not None:
            return self.whole[:, span.first : span.last, : span.length]
        return self.table(span.length, span.first, span.last)
