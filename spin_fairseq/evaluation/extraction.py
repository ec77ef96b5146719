"""Running a model over the utterances of a manifest, in batches of similar length."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from tqdm import tqdm

from ..data.audio import read_audio
from .long_files import run


def batches_by_length(sizes, max_samples):
    """Indices of utterances, longest first, in batches whose padded size is at most `max_samples` (one at least)."""
    batch = []
    for index in np.argsort(-np.asarray(sizes), kind="stable"):
        if batch and sizes[batch[0]] * (len(batch) + 1) > max_samples:
            yield batch
            batch = []
        batch.append(int(index))
    if batch:
        yield batch


def _read_ahead(manifest, sizes, batches, workers):
    """(batch, its waves) one after another; `workers` threads decode the next two batches meanwhile, 0 none."""
    def read(index):
        return torch.from_numpy(read_audio(manifest.path(index), frames=int(sizes[index])))

    if workers < 1:
        for batch in batches:
            yield batch, [read(index) for index in batch]
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque()
        try:
            for batch in batches:
                waiting.append((batch, [pool.submit(read, index) for index in batch]))
                if len(waiting) > 2:
                    batch, waves = waiting.popleft()
                    yield batch, [wave.result() for wave in waves]
            for batch, waves in waiting:
                yield batch, [wave.result() for wave in waves]
        finally:
            for _, waves in waiting:
                for wave in waves:
                    wave.cancel()


@torch.inference_mode()
def extract_each(
    compute, frames_of, manifest, *, max_samples=1_600_000, longest=None, device="cpu", workers=0, chunks=None
):
    """Yield (index, result) for each utterance, longest first; arguments and results as in `extract`.

    workers: threads that decode audio while the model runs.
    chunks: a `long_files.Chunks`, for files that are longer than its chunks; None: every file is run whole.
    """
    sizes = manifest.sizes if longest is None else np.minimum(manifest.sizes, longest)
    for batch, waves in _read_ahead(manifest, sizes, batches_by_length(sizes, max_samples), workers):
        waves = [wave.to(device) for wave in waves]
        if chunks is not None:
            for index, wave in zip(batch, waves):
                if len(wave) > chunks.samples:
                    found = chunks.compute(compute, wave, max_samples)
                    yield index, tuple(tensor.numpy() for tensor in found)
            kept = [row for row, wave in enumerate(waves) if len(wave) <= chunks.samples]
            batch, waves = [batch[row] for row in kept], [waves[row] for row in kept]
        if waves:
            found = [tensor.cpu().numpy() for tensor in run(compute, waves)]
            for row, index in enumerate(batch):
                yield index, tuple(array[row, : frames_of(len(waves[row]))] for array in found)


def extract(compute, frames_of, manifest, max_samples=1_600_000, longest=None, device="cpu", progress="", workers=0):
    """What `compute` makes of each utterance.

    compute: (source (B, T), padding_mask (B, T), or None where nothing is padded) -> (B, frames, ...) tensor, or a
    tuple or list of such tensors.
    frames_of: samples -> frames, such as `encoder.output_lengths`.
    longest: only the first so many samples of an utterance are used; None: all.
    progress: what the progress bar says; empty for no bar.
    Returns a list with one array (or tuple of arrays) per utterance, cut to its own frames, in the manifest's order.
    Raises AudioError.
    """
    single = []

    def computed(source, mask):
        found = compute(source, mask)
        single[:] = [torch.is_tensor(found)]
        return found

    results = [None] * len(manifest)
    with tqdm(total=len(manifest), desc=progress, disable=not progress, unit="utt") as bar:
        for index, found in extract_each(
            computed, frames_of, manifest, max_samples=max_samples, longest=longest, device=device, workers=workers
        ):
            results[index] = found[0] if single[0] else found
            bar.update()
    return results
