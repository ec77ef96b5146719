"""Running a model over the utterances of a manifest, in batches of similar length."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any
from collections.abc import Callable, Iterable, Iterator, Sequence

from torch import nn
import numpy as np
import torch

from ..speech.audio import read_utterance
from ..errors import AudioError
from .long_files import Chunks, run
from ..encoders import Mode
from ..speech.manifest import Manifest


def batches_by_length(sizes: Sequence[int] | np.ndarray, max_samples: int) -> Iterator[list[int]]:
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
        return torch.from_numpy(read_utterance(manifest, index, frames=int(sizes[index])))

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


class _Told:
    """Tells `progress` how many samples were computed, whichever thread does it; None: nobody is told."""

    def __init__(self, progress):
        self.progress, self._lock = progress, Lock()

    def of(self, waves, function):
        """function(tell), which may call `tell` with fractions of the waves; in the end all of them are told."""
        if self.progress is None:
            return function(None)
        samples, told = sum(map(len, waves)), 0.0

        def tell(fraction):
            nonlocal told
            before, told = told, min(samples, told + fraction * samples)
            self._tell(told - before)

        found = function(tell)
        self._tell(samples - told)
        return found

    def _tell(self, samples):
        with self._lock:
            self.progress(samples)


def _with(compute, mode, tell):
    return compute if mode is None else partial(compute, mode=replace(mode, progress=tell))


def compute_batches(
    compute: Callable, batches: Iterable[tuple[Any, list[torch.Tensor]]], threads: int = 1, mode: Mode | None = None,
    progress: Callable[[int], object] | None = None,
) -> Iterator[tuple[Any, tuple[torch.Tensor, ...]]]:  # fmt: skip
    """Yield (key, `run(compute, waves)`) for each (key, waves) of `batches`, in their order.

    mode: an encoders.Mode, which is given to `compute` as its third argument; None: it has but two.
    progress: called with the number of samples that were computed since it was called before, by one thread at a time;
    with a `mode`, while a batch is computed, else behind each. None: nobody is told.
    threads: so many batches are computed at once, each by one thread, which leaves fewer of them waiting for another
    than sharing the operations of one batch does; 1: one batch, by the threads that torch has.
    """
    told = _Told(progress)

    def task(waves):
        return told.of(waves, lambda tell: run(_with(compute, mode, tell), waves))

    if threads <= 1:
        for key, waves in batches:
            yield key, task(waves)
        return

    def alone(waves):
        with torch.inference_mode():
            return task(waves)

    before = torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = deque()
        try:
            for key, waves in batches:
                waiting.append((key, pool.submit(alone, waves)))
                if len(waiting) > threads:
                    key, found = waiting.popleft()
                    yield key, found.result()
            while waiting:
                key, found = waiting.popleft()
                yield key, found.result()
        finally:
            for _, found in waiting:
                found.cancel()
            torch.set_num_threads(before)


@torch.inference_mode()
def extract_each(
    compute: Callable, frames_of: Callable[[int], int], manifest: Any, *, max_samples: int = 1_600_000,
    longest: int | None = None, device: str = "cpu", workers: int = 0, chunks: Chunks | None = None, threads: int = 1,
    mode: Mode | None = None, progress: Callable[[int], object] | None = None,
) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:  # fmt: skip
    """What `compute` makes of each utterance: yields (index, arrays, each cut to the utterance's own frames), longest first.

    compute: (source (B, T), padding_mask (B, T), or None where nothing is padded) -> (B, frames, ...) tensor, or a
    tuple or list of such tensors.
    frames_of: samples -> frames, such as `encoder.output_lengths`.
    longest: only the first so many samples of an utterance are used; None: all.
    workers: threads that decode audio while the model runs.
    chunks: a `long_files.Chunks`, for files that are longer than its chunks; None: every file is run whole.
    threads: as in `compute_batches`; without `chunks`. mode, progress: as in `compute_batches`.
    Raises AudioError.
    """
    sizes = manifest.sizes if longest is None else np.minimum(manifest.sizes, longest)
    batches = _read_ahead(manifest, sizes, batches_by_length(sizes, max_samples), workers)
    batches = ((batch, [wave.to(device) for wave in waves]) for batch, waves in batches)
    if chunks is not None:
        told = _Told(progress)

        def alone(wave, tell):
            if len(wave) > chunks.samples:
                return chunks.compute(compute, wave, max_samples, tell)
            return tuple(tensor[0] for tensor in run(_with(compute, mode, tell), [wave]))

        for batch, waves in batches:
            for index, wave in zip(batch, waves):
                found = told.of([wave], partial(alone, wave))
                yield index, tuple(tensor.cpu().numpy() for tensor in found)
        return
    for batch, found in compute_batches(compute, batches, threads, mode, progress):
        arrays = [tensor.cpu().numpy() for tensor in found]
        for row, index in enumerate(batch):
            yield index, tuple(array[row, : frames_of(int(sizes[index]))] for array in arrays)


@torch.no_grad()
def sample_features(
    model: nn.Module, manifest: Manifest, frames: int, longest: int, seed: int = 0, max_samples: int = 1_600_000
) -> torch.Tensor:
    """At least `frames` frames of utterances drawn at random, or all that there are -> (N, width) float32 tensor.

    model: a Spin model; its own layer, on its own device, where the result stays. longest: only the first so many samples
    of an utterance are used. max_samples: of a batch, roughly. Utterances that cannot be read, or are
    shorter than a frame, are left out. The model is left in the mode in which it was.
    """
    training, device = model.training, next(model.parameters()).device
    model.eval()
    found, missing, waves = [], frames, []

    def compute():
        features = run(lambda *batch: model.extract_features(*batch)[0].float(), [wave.to(device) for wave in waves])[0]
        found.extend(row[: model.encoder.output_lengths(len(wave))] for row, wave in zip(features, waves))
        waves.clear()

    for index in np.random.default_rng(seed).permutation(len(manifest)):
        if missing <= 0:
            break
        samples = min(int(manifest.sizes[index]), longest)
        if model.encoder.output_lengths(samples) < 1:
            continue
        try:
            wave = torch.from_numpy(read_utterance(manifest, index, frames=samples))
        except AudioError:
            continue  # training counts and names it
        waves.append(wave)
        missing -= model.encoder.output_lengths(len(wave))
        if len(waves) * max(map(len, waves)) >= max_samples:
            compute()
    if waves:
        compute()
    model.train(training)
    return torch.cat(found) if found else torch.zeros(0, model.encoder.width, device=device)
