"""The groups of metrics, and how each is applied to a model.

To add a group, write a module with `METRICS`, a function here that makes its measurements of a `ModelOnCorpus`, and a line in `GROUPS`.
"""

from dataclasses import asdict, dataclass
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..speech.audio import read_utterance
from ..errors import ConfigError
from .abx import measurement as abx
from .metrics import phones, robustness, speakers, tokens
from .abx.items import triphone_items
from .abx.tools import installed_tool
from .metrics.boundaries import boundary_metrics
from .metrics.metric import Metric
from .metrics.robustness import measure_robustness
from .corpus import Corpus
from .features.encoding import Encoding, UnitExtractor

NO_LABELS = "no phone labels were given (--phones)"


@dataclass
class ModelOnCorpus:
    """One model on one corpus, as the groups see it. extractor: has encoded the corpus."""

    corpus: Corpus
    extractor: UnitExtractor

    @property
    def encoding(self) -> Encoding:
        return self.extractor.encoding

    @property
    def units(self) -> list[np.ndarray]:
        return self.encoding.units

    @property
    def clusters(self) -> int:
        return self.encoding.clusters

    def labelled(self, rows: Sequence) -> list:
        """Of a sequence with an entry an utterance, those of utterances with phone labels."""
        return [rows[i] for i in self.corpus.labelled]


@dataclass(frozen=True)
class MetricGroup:
    """measure: ModelOnCorpus -> a list of (Measurement, its keys that count). why_not: Corpus -> why nothing can be measured, or ""."""

    title: str
    metrics: tuple[Metric, ...]
    measure: Callable[[ModelOnCorpus], list]
    why_not: Callable[[Corpus], str] = lambda corpus: ""
    needs_phones: bool = False

    def fingerprint(self) -> list[dict[str, Any]]:
        """Changes with any metric's definition, so that what was kept of another definition is not taken for this one's."""
        return [asdict(metric) for metric in self.metrics]


def phone_measurement(on_corpus: ModelOnCorpus) -> phones.PhoneMeasurement:
    """-> PhoneMeasurement, which has the counts of the table as well."""
    corpus = on_corpus.corpus
    return phones.PhoneMeasurement(
        on_corpus.labelled(corpus.phones), on_corpus.labelled(on_corpus.units), on_corpus.clusters, symbols=corpus.symbols,
        utterances=on_corpus.labelled(corpus.ids), frame_seconds=on_corpus.encoding.frame_seconds,
    )  # fmt: skip


def _phones(on_corpus):
    measurement = phone_measurement(on_corpus)
    return [(measurement, measurement.keys)]


def _speakers(on_corpus):
    corpus = on_corpus.corpus
    of_units = speakers.SpeakerMeasurement(corpus.speakers, on_corpus.units, on_corpus.clusters, utterances=corpus.ids)
    with threadpool_limits(1):  # its matrices are small: threads wait for each other longer than they work
        of_frames = speakers.SpeakerClassifierMeasurement(
            corpus.speakers, on_corpus.extractor.features(), utterances=corpus.ids
        )
    return [(of_units, of_units.keys), (of_frames, of_frames.keys)]


def _tokens(on_corpus):
    """Boundaries are those of utterances with labels, everything else of all."""
    corpus, seconds = on_corpus.corpus, on_corpus.encoding.frame_seconds
    every = len(corpus.labelled) == len(corpus)
    rows = corpus.phones if every else None
    of_all = tokens.TokenMeasurement(on_corpus.units, on_corpus.clusters, seconds, rows, utterances=corpus.ids)
    if every or not corpus.labelled:
        return [(of_all, of_all.keys)]
    of_labelled = tokens.TokenMeasurement(
        on_corpus.labelled(on_corpus.units), on_corpus.clusters, seconds, on_corpus.labelled(corpus.phones),
        utterances=on_corpus.labelled(corpus.ids),
    )  # fmt: skip
    boundaries = [key for key in of_all.keys if key in boundary_metrics(0, 0, 0)]
    return [(of_all, [key for key in of_all.keys if key not in boundaries]), (of_labelled, boundaries)]


def _abx(on_corpus):
    corpus = on_corpus.corpus
    items = triphone_items(corpus.phones, corpus.speakers, symbols=corpus.symbols, utterances=corpus.ids)
    measurement = abx.AbxMeasurement(
        items, on_corpus.extractor.features(), on_corpus.units, frame_seconds=on_corpus.encoding.frame_seconds,
        device=on_corpus.extractor.cache.device,
    )  # fmt: skip
    return [(measurement, measurement.keys)]


def _robustness(on_corpus):
    corpus = on_corpus.corpus
    measurement = measure_robustness(on_corpus.extractor.units_of, lambda i: read_utterance(corpus, i), corpus.ids)
    return [(measurement, measurement.keys)]


def _without_labels(corpus):
    return "" if corpus.labelled else NO_LABELS


def _without_abx(corpus):
    try:
        installed_tool()
    except ConfigError as error:
        return str(error)
    return _without_labels(corpus)


GROUPS = {
    "phones": MetricGroup("What units say of phones", phones.METRICS, _phones, _without_labels, needs_phones=True),
    "speakers": MetricGroup("What units and features say of speakers", speakers.METRICS, _speakers),
    "tokens": MetricGroup("Units as tokens", tokens.METRICS, _tokens),
    "abx": MetricGroup("ABX discriminability", abx.METRICS, _abx, _without_abx, needs_phones=True),
    "robustness": MetricGroup("Robustness of units", robustness.METRICS, _robustness),
}
METRICS = {(name, metric.key): metric for name, one in GROUPS.items() for metric in one.metrics}
