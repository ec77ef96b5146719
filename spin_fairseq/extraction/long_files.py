"""Attention within overlapping chunks of a file, for files so long that attending to all of it takes too long.

All else is as for the whole file: the wave and the first group norm are normalised by the whole file's statistics, and
the convolutions and the positional convolution reach less far than the overlap, of which half is dropped on either side
of a seam. What attention within a chunk changes depends on the model, and on how long the chunks are.
"""

import math
from contextlib import contextmanager, nullcontext

import torch

from .convolutions import BlockedConvolutions


def chunk_spans(samples, chunk, overlap, hop):
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

    encoder: of a Spin model, or alone. overlap_seconds: how much neighbouring chunks share.
    """

    def __init__(self, encoder, seconds=60.0, overlap_seconds=4.0):
        self.encoder = encoder
        self.hop = math.prod(stride for _, _, stride in encoder.conv_layers)
        unit = 2 * self.hop
        self.samples = max(2, int(seconds * encoder.sample_rate) // unit) * unit
        self.overlap = max(1, int(overlap_seconds * encoder.sample_rate) // unit) * unit
        self.overlap = min(self.overlap, self.samples // (2 * unit) * unit)

    def compute(self, compute, wave, max_samples):
        """What `compute` makes of a long wave, (T,), on its device: -> a tuple of (frames, ...) tensors."""
        spans = chunk_spans(len(wave), self.samples, self.overlap, self.hop)
        rows = max(1, max_samples // self.samples)
        pieces = []
        with self._as_one_file(wave) as wave:
            for first in range(0, len(spans), rows):
                batch = spans[first : first + rows]
                waves = [wave[begin:end] for begin, end, _, _ in batch]
                found = run(compute, waves)
                for row, (begin, end, start, stop) in enumerate(batch):
                    stop = self.encoder.output_lengths(end - begin) if stop is None else stop
                    pieces.append([tensor[row, start:stop].cpu() for tensor in found])
        return tuple(torch.cat(parts) for parts in zip(*pieces))

    @contextmanager
    def _as_one_file(self, wave):
        """The encoder treats what it is given as stretches of this wave; -> the wave to cut them from."""
        encoder = self.encoder
        normalize, convolve = encoder.normalize, vars(encoder).get("_convolve")
        try:
            if normalize:
                variance, mean = torch.var_mean(wave.double(), unbiased=False)
                wave = ((wave - mean) * torch.rsqrt(variance + 1e-5)).to(wave.dtype)
                encoder.normalize = False
            blocked = convolve or _blocked(encoder)
            if blocked:
                encoder._convolve = blocked
            with blocked.stretches_of(wave) if blocked else nullcontext():
                yield wave
        finally:
            encoder.normalize = normalize
            if convolve is None:
                vars(encoder).pop("_convolve", None)


def _blocked(encoder):
    try:
        return BlockedConvolutions(encoder)
    except ValueError:  # an extractor without statistics over time needs none of the whole file
        return None


def run(compute, waves):
    """`compute` on a batch of waves, (T,) each -> a tuple of (B, frames, ...) tensors."""
    lengths = torch.tensor([len(wave) for wave in waves], device=waves[0].device)
    source = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    mask = torch.arange(source.size(1), device=source.device) >= lengths[:, None]
    padded = len({len(wave) for wave in waves}) > 1
    found = compute(source, mask if padded else None)
    return (found,) if torch.is_tensor(found) else tuple(found)
