"""Run every group of metrics on every model: finished results are kept, and a failure leaves the others alone."""

import itertools
import logging
import time
from pathlib import Path
from typing import Any
from collections.abc import Sequence

from ..errors import EvaluationError, SpinError
from ..files import write_text
from ..progress import ProgressBar
from . import results
from .confidence import paired_test
from .features.encoding import UnitExtractor
from ..fingerprints import digest_of
from .kept_results import KeptMeasurement, KeptResults, finite, write_arrays
from .metrics.phones import best_phone_per_unit
from .features.representations import open_source
from .groups import GROUPS, ModelOnCorpus, phone_measurement
from .corpus import Corpus
from .features.cache import FeatureCache
from .features.specs import ModelSpec

VERSION = 1  # of what is kept of units; a change of how they are made raises it

logger = logging.getLogger(__name__)


class Evaluation:
    """Models on a corpus.

    out: folder of the results. train: Corpus that k-means is fitted on, or None for `corpus`. groups: names. samples, level:
    of the bootstrap. kmeans_frames: most that k-means is fitted on. encoder: keys of encoders'
    configurations that the checkpoints leave open, as for `load_encoder`. about: what else results.json should say.
    """

    def __init__(
        self, out: str | Path, corpus: Corpus, specs: Sequence[ModelSpec], groups: Sequence[str], cache: FeatureCache,
        *, train: Corpus | None = None, samples: int = 1000, level: float = 0.95, seed: int = 0,
        kmeans_frames: int = 200_000, encoder: dict[str, Any] | None = None, dtype: str = "float32",
        about: dict[str, Any] | None = None, progress: bool = False,
    ):  # fmt: skip
        self.out, self.corpus, self.specs, self.groups = Path(out), corpus, specs, groups
        self.cache, self.train = cache, train
        self.samples, self.level, self.seed, self.kmeans_frames = samples, level, seed, kmeans_frames
        self.encoder_keys, self.dtype, self.about, self.progress = encoder or {}, dtype, about or {}, progress
        self.kept_results = KeptResults(self.out / "parts")
        self.models, self.kept, self.layers = [], {}, []

    def run(self) -> bool:
        """Measure what is not there yet and write the results, again after each group. -> True where nothing failed."""
        self.corpus.write_manifest(self.out / "data.tsv")
        if self.corpus.labelled:
            self.corpus.write_phones(self.out / "phones.tsv")
        if not (self.out / "results.json").exists():
            self._write()  # says what was asked for, if the first model fails
        with ProgressBar(total=len(self.specs) * len(self.groups), unit="group", disable=not self.progress) as bar:
            for spec in self.specs:
                self._model(spec, bar)
        self._write(finished=True)
        return not any(model["errors"] for model in self.models)

    def _model(self, spec, bar):
        model = {
            "name": spec.name, "spec": spec.text, "kind": spec.kind, "features": Path(spec.source).name, "layer": spec.layer,
            "clusters": spec.clusters, "width": None, "frame_seconds": None, "note": "", "metrics": {}, "errors": {}, "seconds": {},
            "units": f"units/{spec.name}.jsonl", "counts": None,
        }  # fmt: skip
        self.models.append(model)
        on_corpus = None
        for number, name in enumerate(["units", *self.groups]):
            bar.set_description(f"{spec.name}: {name}")
            try:
                if name == "units":
                    on_corpus, fingerprint = self._encode(spec, model)
                else:
                    self._set(name, on_corpus, fingerprint, model)
            except Exception as error:  # a model's failure, of whatever kind, must not lose hours of the others'
                model["errors"][name] = (
                    str(error) if isinstance(error, SpinError) else f"{type(error).__name__}: {error}"
                )
                logger.error(f"{spec.name}, {name}: {model['errors'][name]}", exc_info=not isinstance(error, SpinError))
            if name == "units" and on_corpus is None:
                bar.update(len(self.groups))
                break
            bar.update(number > 0)
            self._write()

    def _encode(self, spec, model):
        source = open_source(spec, self.cache.device, self.encoder_keys, self.dtype)
        of_kmeans = None
        if spec.kind == "kmeans":
            train = (self.train or self.corpus).audio_fingerprint
            of_kmeans = [spec.layer, spec.clusters, train, self.kmeans_frames, self.seed]
        fingerprint = digest_of(
            [VERSION, source.fingerprint(), spec.codebook, of_kmeans, self.corpus.fingerprint(), self.cache.dtype.name]
        )
        extractor = UnitExtractor(
            spec, source, self.corpus, self.train, self.cache, self.out, most_frames=self.kmeans_frames, seed=self.seed
        )
        encoding = extractor.encode(fingerprint)
        on_corpus = ModelOnCorpus(self.corpus, extractor)
        model.update(features=encoding.title, layer=encoding.layer, clusters=encoding.clusters, note=encoding.note)
        model["width"], model["frame_seconds"] = encoding.width, encoding.frame_seconds
        model["seconds"]["units"] = encoding.seconds
        if encoding.sweep:
            self.layers.append(
                {
                    "model": spec.name,
                    "features": encoding.title,
                    "clusters": encoding.clusters,
                    "layers": encoding.sweep,
                }
            )
        if self.corpus.labelled:
            model["counts"] = f"counts/{spec.name}.npz"
            measurement = phone_measurement(on_corpus)
            counts = measurement.counts()
            write_arrays(self.out / model["counts"], counts=counts, phones=measurement.phones)
            best = best_phone_per_unit(counts, measurement.phones)
            lines = [
                "unit\tphone\tfraction\tframes",
                *(f"{b.unit}\t{b.phone}\t{b.fraction:.4f}\t{b.frames}" for b in best),
            ]
            write_text(self.out / "counts" / f"{spec.name}.tsv", "\n".join(lines) + "\n", EvaluationError)
        return on_corpus, fingerprint

    def _set(self, name, on_corpus, fingerprint, model):
        why_not = GROUPS[name].why_not(self.corpus)
        if why_not:
            nothing = {"value": None, "low": None, "high": None, "reason": why_not}
            model["metrics"][name] = {metric.key: dict(nothing) for metric in GROUPS[name].metrics}
            return
        fingerprint = digest_of([fingerprint, name, GROUPS[name].fingerprint(), self.samples, self.seed])
        found = self.kept_results.read(model["name"], name, fingerprint)
        if found is None:
            started = time.time()
            kept = [KeptMeasurement.of(*pair, self.samples, self.seed) for pair in GROUPS[name].measure(on_corpus)]
            found = kept, time.time() - started
            self.kept_results.write(model["name"], name, fingerprint, *found)
        kept, model["seconds"][name] = found
        self.kept[model["name"], name] = kept
        within = {metric.key: metric.within for metric in GROUPS[name].metrics}
        model["metrics"][name] = {key: cell for one in kept for key, cell in one.table(self.level, within).items()}

    def _paired(self):
        """The paired tests of every two models."""
        rows = []
        for name in self.groups:
            measured = [
                (model["name"], self.kept[model["name"], name])
                for model in self.models
                if (model["name"], name) in self.kept
            ]
            for (a, of_a), (b, of_b) in itertools.combinations(measured, 2):
                for pair in zip(of_a, of_b):
                    for key, test in paired_test(*pair, self.samples, self.level, self.seed).items():
                        rows.append(
                            {"group": name, "metric": key, "a": a, "b": b, **{k: finite(v) for k, v in test.items()}}
                        )
        return rows

    def _write(self, finished=False):
        corpus = self.corpus
        data = {
            "manifests": corpus.sources,
            "phones": str((self.out / "phones.tsv").resolve()) if corpus.labelled else None,
            "utterances": len(corpus), "labelled": len(corpus.labelled), "seconds": corpus.seconds,
            "speakers": len(set(corpus.speakers)),
        }  # fmt: skip
        content = {
            "format": 2, "finished": finished, **self.about, "data": data,
            "options": {"samples": self.samples, "level": self.level, "seed": self.seed, "kmeans_frames": self.kmeans_frames,
                        "train": self.train.sources if self.train else None, "cache_dtype": self.cache.dtype.name,
                        "dtype": self.dtype},
            "groups": list(self.groups), "models": self.models, "layers": self.layers,
            "paired": self._paired() if finished else [],
        }  # fmt: skip
        results.write(self.out, content)
