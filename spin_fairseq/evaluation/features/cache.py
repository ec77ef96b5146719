"""Features of all utterances on disk, so that no model runs twice over the same audio, and memory stays small."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from ...encoders import AS_USUAL
from ...errors import CheckpointError, ConfigError, EvaluationError
from ...extraction.batches import extract_each
from ...fingerprints import digest_of
from ...files import whole_file
from ...progress import ProgressBar
from ...speech.audio import SAMPLE_RATE
from ..corpus import Corpus
from .representations import FeatureSource

MAX_SAMPLES = 480_000  # of a batch: 30 s


class UtteranceFeatures:
    """Features of U utterances as a sequence: `frames[i]` is (frames, width) float32.

    array: (all frames, width), possibly a map of a file; lengths: (U,) frames of each utterance.
    """

    def __init__(self, array: np.ndarray, lengths: np.ndarray):
        self.array = array
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, i):
        if not 0 <= i < len(self):
            raise IndexError(i)
        return np.asarray(self.array[self.offsets[i] : self.offsets[i + 1]], dtype=np.float32)


class FeatureCache:
    """Features in a folder of at most `limit` bytes, those unused for longest making room.

    dtype: "float32", or "float16", which halves the room and rounds features by up to 1/2048 of themselves; units are made
    of what is stored. progress: show bars.
    """

    def __init__(
        self, folder: str | Path, limit: float = 10 * 10**9, dtype: str = "float32", device: str = "cpu",
        workers: int = 1, progress: bool = False,
    ):  # fmt: skip
        self.folder, self.limit, self.dtype = Path(folder), int(limit), np.dtype(dtype)
        self.device, self.workers, self.progress = device, workers, progress
        self.folder.mkdir(parents=True, exist_ok=True)

    def each_layer(
        self, source: FeatureSource, layers: Iterable[int | None], corpus: Corpus, most_frames: int | None = None,
        seed: int = 0,
    ) -> Iterator[tuple[int | None, UtteranceFeatures]]:  # fmt: skip
        """Yield (layer, UtteranceFeatures) for each of `layers`, computed where they are not there yet.

        most_frames: keep so many frames drawn at random, the same ones for each layer; None: all.
        As many layers as there is room for are computed by one pass. Raises SpinError.
        """
        layers = list(layers)
        lengths = np.asarray(source.output_lengths(corpus.sizes))
        chosen = _chosen_frames(lengths, most_frames, seed)
        kept = lengths if chosen is None else np.array([len(rows) for rows in chosen])
        while layers:
            group, size = [], 0
            for layer in layers:
                size += int(kept.sum()) * source.width(layer) * self.dtype.itemsize
                if size > self.limit:
                    break
                group.append(layer)
            if not group:
                raise ConfigError(
                    f"{self.folder}: features of {source.title} take {size / 1e9:.2f} GB, the limit is "
                    f"{self.limit / 1e9:.2f}; give a larger --cache-gb, or --cache-dtype float16"
                )
            paths = {layer: self._path(source, layer, corpus, most_frames, seed) for layer in group}
            missing = [layer for layer in group if not paths[layer].exists()]
            if missing:
                self._make_room(size, set(paths.values()))
                self._compute(source, missing, corpus, paths, kept, chosen)
            for layer in group:
                os.utime(paths[layer])
                yield layer, UtteranceFeatures(np.load(paths[layer], mmap_mode="r", allow_pickle=False), kept)
            layers = layers[len(group) :]

    def layer(self, source: FeatureSource, layer: int | None, corpus: Corpus) -> UtteranceFeatures:
        """-> UtteranceFeatures of all utterances."""
        return next(self.each_layer(source, [layer], corpus))[1]

    def _path(self, source, layer, corpus, most_frames, seed):
        key = [
            source.fingerprint(),
            layer,
            corpus.audio_fingerprint,
            self.dtype.name,
            most_frames,
            seed if most_frames else 0,
        ]
        return self.folder / f"{digest_of(key)}.npy"

    def _make_room(self, size, keep):
        files = [path for path in self.folder.iterdir() if path not in keep]  # what a kill left half-written too
        sizes = {path: path.stat().st_size for path in files}
        used = sum(sizes.values())
        for path in sorted(files, key=lambda path: path.stat().st_mtime):
            if used + size <= self.limit:
                return
            path.unlink()
            used -= sizes[path]

    def _compute(self, source, layers, corpus, paths, kept, chosen):
        """Run the source once over the corpus; write the features of `layers` to their paths, whole or not at all."""
        offsets = np.concatenate([[0], np.cumsum(kept)])
        compute = source.compute(layers)
        with ExitStack() as files:
            temporary = {layer: files.enter_context(whole_file(paths[layer], EvaluationError)) for layer in layers}
            arrays = {
                layer: np.lib.format.open_memmap(path, "w+", self.dtype, (int(offsets[-1]), source.width(layer)))
                for layer, path in temporary.items()
            }
            threads = torch.get_num_threads() if str(self.device) == "cpu" else 1
            bar = files.enter_context(self._bar(corpus, source.title))
            for index, of_layers in extract_each(
                compute, source.output_lengths, corpus, max_samples=MAX_SAMPLES, device=self.device,
                workers=self.workers, threads=threads, mode=AS_USUAL,
                progress=lambda samples: bar.update(samples / SAMPLE_RATE),
            ):  # fmt: skip
                for layer, rows in zip(layers, of_layers):
                    rows = rows if chosen is None else rows[chosen[index]]
                    arrays[layer][offsets[index] : offsets[index + 1]] = self._checked(
                        rows, source, layer, corpus, index
                    )
            for array in arrays.values():
                array.flush()

    def _checked(self, rows, source, layer, corpus, index):
        if not np.isfinite(rows).all():
            of = f", layer {layer}," if layer else ""
            raise CheckpointError(
                f"{source.title}{of} gives NaN or infinite features for {corpus.path(index)}; check the checkpoint's weights"
            )
        with np.errstate(over="ignore"):
            stored = rows.astype(self.dtype)
        if not np.isfinite(stored).all():
            raise ConfigError(f"{source.title}: features are too large for float16; use --cache-dtype float32")
        return stored

    def _bar(self, corpus, title):
        return ProgressBar(
            total=round(corpus.seconds, 1), desc=f"features of {title}", unit="s", unit_scale=True, miniters=0,
            leave=False, disable=not self.progress,
        )  # fmt: skip


def _chosen_frames(lengths, most_frames, seed):
    """Which frames of each utterance are kept: None for all, else a list of ascending indices."""
    if most_frames is None or lengths.sum() <= most_frames:
        return None
    drawn = np.sort(np.random.default_rng(seed).choice(int(lengths.sum()), most_frames, replace=False))
    ends = np.cumsum(lengths)
    return [
        rows - (end - length)
        for rows, end, length in zip(np.split(drawn, np.searchsorted(drawn, ends[:-1])), ends, lengths)
    ]
