"""How the frames of a batch lie in a tensor of (rows, frames, width), and how much of it is computed at a time."""

from dataclasses import dataclass
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

Tensor = torch.Tensor
Progress = Callable[[float], None] | None


@dataclass(frozen=True)
class Span:
    """Frames that attend at a time, and those of their utterance: slices of a tensor's frames.

    first, last, length: the same, counted from the utterance's first frame.
    """

    queries: slice
    keys: slice
    first: int
    last: int
    length: int


class Padded:
    """One utterance a row, (B, frames, width), all of one length or padded to it at the end.

    mask: (B, frames) bool, True at padding, or None where nothing is padded.
    progress: called behind each of the `spans` with the fraction of all frames that was in it, or None.
    """

    def __init__(self, mask: Tensor | None = None, progress: Progress = None) -> None:
        self.mask, self.progress = mask, progress

    def spans(self, frames: int, block: int | None) -> Iterator[Span]:
        if block is None:
            yield Span(slice(None), slice(None), 0, frames, frames)
            if self.progress:
                self.progress(1.0)
            return
        for first in range(0, frames, block):
            last = min(first + block, frames)
            yield Span(slice(first, last), slice(None), first, last, frames)
            if self.progress:
                self.progress((last - first) / frames)

    def longest(self, x: Tensor) -> int:
        return x.size(1)

    def with_gaps(self, x: Tensor, gap: int) -> Tensor:
        """x with zeros in place of padding: what a convolution of that reach may see. -> (B, frames, width)."""
        return x if self.mask is None else x.masked_fill(self.mask.unsqueeze(-1), 0.0)

    def without_gaps(self, x: Tensor, gap: int) -> Tensor:
        """The inverse of `with_gaps`."""
        return x

    def to_rows(self, x: Tensor, frames: int) -> Tensor:
        """-> (B, frames, width)."""
        return x


class Packed:
    """Utterances behind each other, without padding: (1, frames of all, width).

    lengths: frames of each. progress: as of `Padded`.
    """

    mask = None

    def __init__(self, lengths: list[int], progress: Progress = None) -> None:
        self.lengths, self.progress = lengths, progress

    def spans(self, frames: int, block: int | None) -> Iterator[Span]:
        begin = 0
        for length in self.lengths:
            for first in range(0, length, block or max(length, 1)):
                last = min(first + (block or length), length)
                yield Span(slice(begin + first, begin + last), slice(begin, begin + length), first, last, length)
                if self.progress:
                    self.progress((last - first) / frames)
            begin += length

    def longest(self, x: Tensor) -> int:
        return max(self.lengths)

    def with_gaps(self, x: Tensor, gap: int) -> Tensor:
        """Zeros between utterances, as many as a convolution reaches. -> (1, more frames, width)."""
        zeros = x.new_zeros(1, gap, x.size(-1))
        pieces = [piece for row in x.split(self.lengths, 1) for piece in (row, zeros)]
        return torch.cat(pieces[:-1], 1)

    def without_gaps(self, x: Tensor, gap: int) -> Tensor:
        """The inverse of `with_gaps`."""
        if len(self.lengths) == 1:
            return x
        sizes = [size for length in self.lengths for size in (length, gap)][:-1]
        return torch.cat(x.split(sizes, 1)[::2], 1)

    def to_rows(self, x: Tensor, frames: int) -> Tensor:
        """-> (B, frames, width), zero behind each utterance."""
        rows = [F.pad(row, (0, 0, 0, frames - row.size(1))) for row in x.split(self.lengths, 1)]
        return torch.cat(rows)


def in_blocks(function: Callable[..., Tensor], block: int | None, *tensors: Tensor) -> Tensor:
    """function(*tensors), which treats each frame by itself, for `block` frames at a time; None: for all at once.

    tensors: (..., width) each, alike but for the width -> (..., width). Blocks are for what no gradient flows through.
    """
    leading = tensors[0].shape[:-1]
    if block is None or leading.numel() <= block:
        return function(*tensors)
    flat = [tensor.flatten(0, -2) for tensor in tensors]
    result = None
    for begin in range(0, len(flat[0]), block):
        found = function(*(tensor[begin : begin + block] for tensor in flat))
        if result is None:
            result = found.new_empty(len(flat[0]), found.size(-1))
        result[begin : begin + block] = found
    return result.view(*leading, -1)
