"""How well units predict phones."""

from typing import NamedTuple
from collections.abc import Sequence

import numpy as np

from ...errors import EvaluationError
from ..clusters import UtteranceCounts, align, label_indices
from ..confidence import Measurement
from .metric import FRACTION, Metric
from .inputs import check_labels, checked_units, utterance_names

HSU = "Hsu et al. 2021 (HuBERT), section IV-B"

METRICS = (
    Metric(
        "pnmi", "PNMI", "higher",
        "Fraction of the phones' entropy that the units explain: I(phone; unit) / H(phone), over frames of 10 ms; units are "
        "repeated to that rate, and the longer of labels and units is cut. It grows with the number of units.",
        HSU, chance="a little over 0, more with many units and little speech", within=FRACTION,
    ),
    Metric(
        "phone_purity", "phone purity", "higher",
        "Accuracy of naming each frame by the likeliest phone of its unit: the sum over units of max p(phone, unit).",
        HSU, chance="the fraction of the commonest phone", within=FRACTION,
    ),
    Metric(
        "cluster_purity", "cluster purity", "higher",
        "Accuracy of naming each frame's unit by the likeliest unit of its phone: the sum over phones of max p(phone, unit). "
        "It falls with the number of units.",
        HSU, chance="the fraction of the commonest unit", within=FRACTION,
    ),
    Metric(
        "phone_given_unit", "H(phone | unit)", "lower",
        "Conditional entropy: what is left to know of a frame's phone once its unit is known, H(phone, unit) - H(unit).",
        "Cover & Thomas, Elements of Information Theory, section 2.2", "bit", "H(phone)",
    ),
    Metric(
        "unit_given_phone", "H(unit | phone)", "",
        "Conditional entropy: what units say beyond the phone (allophones, speakers, noise), H(phone, unit) - H(phone).",
        "Cover & Thomas, Elements of Information Theory, section 2.2", "bit", "H(unit)",
    ),
)  # fmt: skip


class BestPhone(NamedTuple):
    """The likeliest phone of a unit."""

    unit: int
    phone: str
    fraction: float  # of the unit's frames that have this phone
    frames: int  # of 10 ms, with this unit


def best_phone_per_unit(counts: np.ndarray, phones: Sequence[str]) -> list[BestPhone]:
    """(P, K) counts of frames, P names -> a BestPhone for each unit that occurs, in the order of units."""
    frames, best = counts.sum(0), counts.argmax(0) if len(counts) else None
    return [
        BestPhone(int(unit), str(phones[best[unit]]), float(counts[best[unit], unit] / frames[unit]), int(frames[unit]))
        for unit in np.flatnonzero(frames)
    ]


class PhoneMeasurement(Measurement):
    """Metrics of units beside phone labels.

    phones: a sequence of labels every 10 ms an utterance, strings or integers; units: a sequence of integers in
    0..clusters-1, one every `frame_seconds`; clusters: size of the codebook. symbols: the phones' names where labels are
    integers that number them. utterances: names for messages and for pairing, or None.

    Attributes: phones, (P,) names of the phones that occur, sorted.
    Raises EvaluationError, and PhoneLabelError for labels.
    """

    keys = tuple(metric.key for metric in METRICS)

    def __init__(
        self, phones: Sequence[Sequence], units: Sequence[np.ndarray], clusters: int, *,
        symbols: Sequence[str] | None = None, utterances: Sequence[str] | None = None, frame_seconds: float = 0.02,
    ):  # fmt: skip
        self.utterances = utterance_names(utterances, len(units))
        units = checked_units(units, clusters, self.utterances)
        check_labels(phones, self.utterances)
        rows, units = zip(*(align(row, unit, frame_seconds) for row, unit in zip(phones, units)))
        if not any(map(len, units)):
            raise EvaluationError(
                "no frame has both a unit and a phone label; are the labels those of these utterances?"
            )
        indices, labels = label_indices(rows)
        self.phones = np.array([str(label if symbols is None else symbols[label]) for label in labels])
        self._counts = UtteranceCounts(indices, units, len(labels), clusters)
        self.reasons = {"pnmi": "all frames have the same phone"} if len(labels) == 1 else {}

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        found = self._counts.agreement(weights)
        phone_entropy = np.where(found["class_entropy"] > 0, found["class_entropy"], np.nan)
        return {
            "pnmi": 1 - found["class_given_unit"] / phone_entropy,
            "phone_purity": found["best_class"],
            "cluster_purity": found["best_unit"],
            "phone_given_unit": found["class_given_unit"],
            "unit_given_phone": found["unit_given_class"],
        }

    def counts(self) -> np.ndarray:
        """(P, K) int64: frames of 10 ms; rows as `phones`."""
        return self._counts.table()
