"""Units as tokens: how many, how much they carry, where they change, how predictable they are."""

from collections.abc import Sequence

import numpy as np

from .boundaries import TOLERANCE, boundaries, boundary_metrics, count_matches
from ..clusters import LABEL_SECONDS, UtteranceCounts, align
from ..confidence import Measurement
from .metric import FRACTION, Metric
from .folds import FOLDS, held_out_folds
from .inputs import check_labels, checked_units, utterance_names
from .ngrams import held_out_bits

ORDERS = {"unigram_perplexity": 1, "bigram_perplexity": 2, "trigram_perplexity": 3}
ZEROSPEECH = "Dunbar et al. 2019 (ZeroSpeech 2019)"
SHANNON = "Shannon 1948, section 6"
RASANEN = "Räsänen, Laine & Altosaar, Interspeech 2009"
WITHIN = f"{1000 * TOLERANCE * LABEL_SECONDS:.0f} ms"
SMOOTHED = (
    f"counted on other utterances ({FOLDS} folds) with interpolated Witten-Bell smoothing, on de-duplicated units: 2 to the "
    "mean number of bits of a unit."
)

METRICS = (
    Metric("units_per_second", "units a second", "", "Frames of units by the time they last.", ZEROSPEECH, "1/s"),
    Metric(
        "deduplicated_per_second", "units a second, de-duplicated", "lower",
        "The same where a unit that lasts several frames counts once.", "de-duplicated as in Lakhotia et al. 2021 (GSLM)", "1/s",
        "nearly as many as frames",
    ),
    Metric(
        "entropy", "entropy", "", "Of the units' distribution over frames, - sum p log2 p; log2 K where all are used equally.",
        SHANNON, "bit",
    ),
    Metric(
        "perplexity", "perplexity", "higher",
        "2 to the entropy: as many units, equally used, would have the same entropy.", SHANNON,
    ),
    Metric("codebook_use", "codebook use", "higher", "Fraction of the codebook's units that occur at all.", "a count", within=FRACTION),
    Metric(
        "bitrate", "bitrate", "lower", "Units a second by their entropy: what they take, coded one by one.", ZEROSPEECH, "bit/s",
    ),
    Metric(
        "deduplicated_bitrate", "bitrate, de-duplicated", "lower",
        "De-duplicated units a second by the entropy of de-duplicated units; durations are not coded.", ZEROSPEECH, "bit/s",
    ),
    Metric(
        "boundary_precision", "boundary precision", "higher",
        f"Fraction of the changes of unit that are matched with a change of phone no more than {WITHIN} away; each is matched "
        "once at most, and the ends of an utterance are no boundaries.", RASANEN,
        chance="that of as many boundaries laid at random", within=FRACTION,
    ),
    Metric(
        "boundary_recall", "boundary recall", "higher",
        "Fraction of the changes of phone that are matched with a change of unit, as in boundary precision.", RASANEN,
        chance="high where units change often", within=FRACTION,
    ),
    Metric("boundary_f1", "boundary F1", "higher", "Harmonic mean of boundary precision and recall.", RASANEN, within=FRACTION),
    Metric(
        "over_segmentation", "over-segmentation", "",
        "Changes of unit by changes of phone, less 1: 0 as many, 1 twice as many, -1 none.", RASANEN,
    ),
    Metric(
        "r_value", "R-value", "higher",
        "Closeness to full recall without over-segmentation, 1 - (|r1| + |r2|) / 2, with r1 = sqrt((1 - recall)^2 + OS^2) and "
        "r2 = (recall - OS - 1) / sqrt(2); 1 is perfect, below 0 where units change far too often.", RASANEN,
    ),
    Metric(
        "unigram_perplexity", "perplexity, unigram", "", f"Of units by their frequency, {SMOOTHED}",
        "Witten & Bell 1991; Chen & Goodman 1999", chance="K",
    ),
    Metric(
        "bigram_perplexity", "perplexity, bigram", "lower", f"Of units given the one before, {SMOOTHED}",
        "Witten & Bell 1991; Chen & Goodman 1999", chance="that of unigrams",
    ),
    Metric(
        "trigram_perplexity", "perplexity, trigram", "lower", f"Of units given the two before, {SMOOTHED}",
        "Witten & Bell 1991; Chen & Goodman 1999", chance="that of unigrams",
    ),
)  # fmt: skip


class TokenMeasurement(Measurement):
    """Metrics of units as tokens.

    units: a sequence of integers in 0..clusters-1 an utterance, one every `frame_seconds`; clusters: size of the codebook.
    phones: a sequence of labels every 10 ms an utterance, for the boundaries, or None: those metrics are then undefined.
    utterances: names for messages and for pairing, or None. The n-grams are not counted anew for a resample.

    Raises EvaluationError, and PhoneLabelError for labels.
    """

    keys = tuple(metric.key for metric in METRICS)

    def __init__(
        self, units: Sequence[np.ndarray], clusters: int, frame_seconds: float = 0.02,
        phones: Sequence[Sequence] | None = None, *, utterances: Sequence[str] | None = None, seed: int = 0,
    ):  # fmt: skip
        self.utterances = utterance_names(utterances, len(units))
        units = checked_units(units, clusters, self.utterances)
        tokens = [row[np.append(True, row[1:] != row[:-1])[: len(row)]] for row in units]
        self._clusters, self._seconds = clusters, frame_seconds
        self._frames, self._tokens = (np.array([float(len(row)) for row in rows]) for rows in (units, tokens))
        self._of_frames, self._of_tokens = (_counts(rows, clusters) for rows in (units, tokens))
        self.reasons = {}
        self._boundaries = self._bits = None
        if phones is None:
            self._undefined(boundary_metrics(0, 0, 0), "there are no phone labels")
        else:
            check_labels(phones, self.utterances)
            self._boundaries = np.array([_boundary_counts(*pair, frame_seconds) for pair in zip(phones, units)])
            if not self._boundaries[:, 2].any():
                self._undefined(boundary_metrics(0, 0, 0), "the phone never changes")
            elif not self._boundaries[:, 1].any():
                self._undefined(["boundary_precision"], "the unit never changes")
        if np.count_nonzero(self._tokens) < 2:
            self._undefined(ORDERS, "there is but one utterance to count and to predict")
        else:
            folds = held_out_folds(np.zeros(len(tokens)), FOLDS, seed)
            self._bits = held_out_bits(tokens, clusters, folds, max(ORDERS.values()))

    def _undefined(self, keys, reason):
        self.reasons.update(dict.fromkeys(keys, reason))

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        frames, tokens = weights @ self._frames, weights @ self._tokens
        seconds = np.where(frames > 0, frames * self._seconds, np.nan)
        of_frames, of_tokens = self._of_frames.agreement(weights), self._of_tokens.agreement(weights)
        values = {
            "units_per_second": frames / seconds,
            "deduplicated_per_second": tokens / seconds,
            "entropy": of_frames["unit_entropy"],
            "perplexity": 2 ** of_frames["unit_entropy"],
            "codebook_use": of_frames["units_in_use"] / self._clusters,
            "bitrate": frames / seconds * of_frames["unit_entropy"],
            "deduplicated_bitrate": tokens / seconds * of_tokens["unit_entropy"],
            **dict.fromkeys(self.reasons, np.full(len(weights), np.nan)),
        }
        if self._boundaries is not None:
            values.update(boundary_metrics(*(weights @ self._boundaries).T))
        if self._bits is not None:
            bits = weights @ self._bits.T / np.where(tokens > 0, tokens, np.nan)[:, None]
            values.update({key: 2 ** bits[:, order - 1] for key, order in ORDERS.items()})
        return values


def _counts(rows, clusters):
    return UtteranceCounts([np.zeros(len(row), np.int64) for row in rows], rows, 1, clusters)


def _boundary_counts(phones, units, frame_seconds):
    """-> matches, changes of unit, changes of phone."""
    reference, found = map(boundaries, align(phones, units, frame_seconds))
    return count_matches(found, reference), len(found), len(reference)
