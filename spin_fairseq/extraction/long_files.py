"""Attention within overlapping chunks of a file, for files so long that attending to all of it takes too long.

All else is as for the whole file: the wave and the first group norm are normalised by the whole file's statistics, and
the convolutions and the positional convolution reach less far than the overlap, of which half is dropped on either side
of a seam. What attention within a chunk changes depends on the model, and on how long the chunks are.
"""

from dataclasses import replace
from functools import partial
from collections.abc import Callable, Sequence

import torch

from ..encoders import AS_USUAL, Mode, SpeechEncoder


def chunk_spans(samples: int, chunk: int, overlap: int, hop: int) -> list[tuple[int, int, int, int | None]]:
    """Where chunks begin and end, and the frames of each that are kept.

    samples: of the file; chunk, overlap: samples, multiples of 2 * hop, overlap below chunk; hop: samples a frame.
    -> a list of (begin, end, first frame kept, frame behind the last one kept, or None for all), samples of the file
    and frames of the chunk.
    """
    spans = []
    begin, half = 0, overlap // 2 // hop
    while True:
        end = min(begin + chunk, samples)
        last = end == samples
        spans.append((begin, end, half if begin else 0, None if last else half + (chunk - overlap) // hop))
        if last:
            return spans
        begin += chunk - overlap


class Chunks:
    """Runs files of more than `seconds` in chunks of that length.

    encoder: of a Spin model, or alone. overlap_seconds: how much neighbouring chunks share. mode: how it computes.
    """

    def __init__(
        self, encoder: SpeechEncoder, seconds: float = 60.0, overlap_seconds: float = 4.0, mode: Mode = AS_USUAL
    ):
        self.encoder, self.mode = encoder, mode
        self.hop = encoder.hop
        unit = 2 * self.hop
        self.samples = max(2, int(seconds * encoder.sample_rate) // unit) * unit
        self.overlap = max(1, int(overlap_seconds * encoder.sample_rate) // unit) * unit
        self.overlap = min(self.overlap, self.samples // (2 * unit) * unit)

    def compute(
        self, compute: Callable, wave: torch.Tensor, max_samples: int, progress: Callable[[float], None] | None = None
    ) -> tuple[torch.Tensor, ...]:
        """What `compute(source, padding_mask, mode)` makes of a long wave, (T,), on its device.

        progress: called with the fraction of the wave that was computed since it was called before, or None.
        -> a tuple of (frames, ...) tensors.
        """
        spans = chunk_spans(len(wave), self.samples, self.overlap, self.hop)
        rows = max(1, max_samples // self.samples)
        pieces = []
        mode = replace(self.mode, statistics=self.encoder.statistics(wave[None]))
        for first in range(0, len(spans), rows):
            batch = spans[first : first + rows]
            if progress:
                mode = replace(mode, progress=partial(_scaled, progress, len(batch) / len(spans)))
            found = run(partial(compute, mode=mode), [wave[begin:end] for begin, end, _, _ in batch])
            for row, (begin, end, start, stop) in enumerate(batch):
                stop = self.encoder.output_lengths(end - begin) if stop is None else stop
                pieces.append([tensor[row, start:stop].cpu() for tensor in found])
        return tuple(torch.cat(parts) for parts in zip(*pieces))


def _scaled(progress, scale, fraction):
    progress(scale * fraction)


def run(compute: Callable, waves: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """`compute` on a batch of waves, (T,) each -> a tuple of (B, frames, ...) tensors."""
    lengths = torch.tensor([len(wave) for wave in waves], device=waves[0].device)
    source = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    mask = torch.arange(source.size(1), device=source.device) >= lengths[:, None]
    padded = len({len(wave) for wave in waves}) > 1
    found = compute(source, mask if padded else None)
    return (found,) if torch.is_tensor(found) else tuple(found)
