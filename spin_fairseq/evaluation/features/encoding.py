"""Units of every utterance by one model, made once and kept: `units/NAME.jsonl`, `centroids/NAME.npy`, and a record of their source."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from collections.abc import Sequence

import numpy as np
import torch

from ...errors import CheckpointError, ConfigError, EvaluationError
from ...files import whole_file, write_text
from ..confidence import plain
from ...extraction.dumping import runs
from ...extraction.batches import batches_by_length, compute_batches
from .cache import FeatureCache, MAX_SAMPLES, UtteranceFeatures
from .kmeans import fit_centroids
from ..metrics.phones import PhoneMeasurement
from .representations import FeatureSource, KMeansUnits, SpinUnits
from ..metrics.speakers import SpeakerMeasurement
from ..corpus import Corpus
from .specs import ModelSpec

BLOCK_FRAMES = 50_000  # that get units at a time


@dataclass
class Encoding:
    """Units of a corpus by one model.

    units: an int64 array an utterance; layer: 1-based, None where there are none; width: dimensions of the features, None
    in what older versions have kept; sweep: [{"layer", "metrics"}], where the layer was chosen; note: how, or what else is
    to be said; seconds: that it took.
    """

    title: str
    layer: int | None
    clusters: int
    frame_seconds: float
    units: list = field(repr=False)
    width: int | None = None
    sweep: list = field(default_factory=list)
    note: str = ""
    seconds: float = 0.0


class UnitExtractor:
    """Turns audio into units, as a ModelSpec says.

    corpus: what is evaluated; train: what k-means is fitted on, or None for the corpus itself. cache: a FeatureCache.
    folder: of the results. most_frames: that k-means is fitted on, drawn at random.
    """

    def __init__(
        self, spec: ModelSpec, source: FeatureSource, corpus: Corpus, train: Corpus | None, cache: FeatureCache,
        folder: str | Path, *, most_frames: int, seed: int,
    ):  # fmt: skip
        self.spec, self.source, self.corpus, self.train, self.cache = spec, source, corpus, train, cache
        self.most_frames, self.seed = most_frames, seed
        self._units_file = Path(folder) / "units" / f"{spec.name}.jsonl"
        self._about_file = Path(folder) / "parts" / spec.name / "units.json"
        self._centroids_file = Path(folder) / "centroids" / f"{spec.name}.npy"
        self._quantizer = None
        self.encoding = None

    def encode(self, fingerprint: str) -> Encoding:
        """-> Encoding; that of an earlier call with the same fingerprint, if it is there. Raises SpinError."""
        self.encoding = self._kept(fingerprint) or self._made(fingerprint)
        return self.encoding

    def features(self) -> UtteranceFeatures:
        """-> UtteranceFeatures: what the units are made of, an array an utterance."""
        return self.cache.layer(self.source, self.encoding.layer, self.corpus)

    @torch.inference_mode()
    def units_of(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Units of other audio: a list of (T,) float32 arrays at 16 kHz -> an int64 array each. Raises CheckpointError."""
        compute, device, found = self.source.compute([self.encoding.layer]), self.cache.device, [None] * len(waves)
        batches = batches_by_length([len(wave) for wave in waves], MAX_SAMPLES)
        batches = ((batch, [torch.from_numpy(waves[i]).to(device) for i in batch]) for batch in batches)
        threads = torch.get_num_threads() if str(device) == "cpu" else 1
        for batch, (features,) in compute_batches(compute, batches, threads):
            for i, row in zip(batch, features):
                row = row[: self.source.output_lengths(len(waves[i]))]
                if not torch.isfinite(row).all():
                    raise CheckpointError(f"{self.source.title} gives NaN or infinite features for distorted audio")
                found[i] = self.quantizer.units(row).cpu().numpy()
        return found

    @property
    def quantizer(self) -> SpinUnits | KMeansUnits:
        if self._quantizer is None:
            if self.spec.kind == "spin":
                self._quantizer = SpinUnits(self.source, self.spec.codebook)
            else:
                centroids = np.load(self._centroids_file, allow_pickle=False)
                self._quantizer = KMeansUnits(self.source, self.encoding.layer, centroids, self.cache.device)
        return self._quantizer

    def _kept(self, fingerprint):
        try:
            about = json.loads(self._about_file.read_text())
            if about.pop("fingerprint") != fingerprint:
                return None
            units = []
            with open(self._units_file, encoding="utf-8", errors="surrogateescape") as file:
                for _name, line in zip(self.corpus.ids, file):
                    row = json.loads(line)
                    units.append(np.repeat(row["units"], row["durations"]))
            return Encoding(units=units, **about) if len(units) == len(self.corpus) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # none, or not whole: make it anew

    def _made(self, fingerprint):
        started = time.time()
        self._about_file.unlink(missing_ok=True)
        if self.spec.kind == "spin":
            clusters = self.quantizer.clusters  # first: there may be no such codebook
            encoding = self._encoding(None, self._units(self.quantizer, None), clusters)
        else:
            encoding = self._by_kmeans()
        encoding.seconds = time.time() - started
        lines = []
        for name, row in zip(self.corpus.ids, encoding.units):
            units, durations = runs(row)
            lines.append(json.dumps({"id": name, "units": units, "durations": durations}, ensure_ascii=False) + "\n")
        write_text(self._units_file, "".join(lines), EvaluationError)
        about = {key: value for key, value in vars(encoding).items() if key != "units"}
        write_text(self._about_file, json.dumps({"fingerprint": fingerprint, **about}), EvaluationError)
        return encoding

    def _encoding(self, layer, units, clusters, **more):
        source = self.source
        return Encoding(source.title, layer, clusters, source.frame_seconds, units, width=source.width(layer), **more)

    def _by_kmeans(self):
        layers, note = self._layers()
        corpus = self.corpus if self.train is None else self.train
        centroids = {
            layer: fit_centroids(frames.array, self.spec.clusters, self.seed)
            for layer, frames in self.cache.each_layer(self.source, layers, corpus, self.most_frames, self.seed)
        }
        units, sweep, best = None, [], None
        for layer, frames in self.cache.each_layer(self.source, layers, self.corpus):
            found = self._units(KMeansUnits(self.source, layer, centroids[layer], self.cache.device), layer, frames)
            if len(layers) == 1:
                units, best = found, layer
                continue
            sweep.append({"layer": layer, "metrics": self._sweep_metrics(found)})
            if units is None or sweep[-1]["metrics"]["pnmi"] > max(row["metrics"]["pnmi"] for row in sweep[:-1]):
                units, best = found, layer
        with whole_file(self._centroids_file, EvaluationError) as temporary:
            np.save(temporary, centroids[best])
        return self._encoding(best, units, self.spec.clusters, sweep=sweep, note=note)

    def _layers(self):
        """The layers to choose from, and a word on the choice."""
        layers = self.source.layers
        if self.spec.layer is not None:
            if self.spec.layer not in layers:
                raise ConfigError(f"{self.spec.text!r}: there is no layer {self.spec.layer}; there are 1..{layers[-1]}")
            return [self.spec.layer], ""
        if len(layers) == 1:
            return list(layers), ""
        if not self.corpus.labelled:
            return [layers[-1]], "no phone labels to choose the layer by: the last one"
        return list(layers), "the layer whose units have the highest PNMI on this data"

    def _sweep_metrics(self, units):
        labelled = self.corpus.labelled
        phones = PhoneMeasurement(
            [self.corpus.phones[i] for i in labelled], [units[i] for i in labelled], self.spec.clusters,
            frame_seconds=self.source.frame_seconds,
        )  # fmt: skip
        speakers = SpeakerMeasurement(self.corpus.speakers, units, self.spec.clusters)
        return {**plain(phones), **plain(speakers)}

    def _units(self, quantizer, layer, frames=None):
        """An int64 array an utterance."""
        frames = self.cache.layer(self.source, layer, self.corpus) if frames is None else frames
        found = []
        with torch.inference_mode():
            for begin in range(0, len(frames.array), BLOCK_FRAMES):
                block = np.array(frames.array[begin : begin + BLOCK_FRAMES], dtype=np.float32)
                found.append(quantizer.units(torch.from_numpy(block).to(self.cache.device)).cpu().numpy())
        return np.split(np.concatenate(found), frames.offsets[1:-1])
