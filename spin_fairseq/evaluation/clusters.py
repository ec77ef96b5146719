"""Agreement of units with phones: PNMI, cluster purity, phone purity (HuBERT, Hsu et al. 2021, section IV-B).

The same counts with speakers for phones tell what units say of speakers.
"""

import math
from fractions import Fraction
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import xlogy
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from ..errors import ConfigError

LABEL_SECONDS = 0.01  # phone labels come every 10 ms
MOST_INTEGERS = 1 << 20  # integers within a range this wide are numbered by a table
CELLS_AT_ONCE = 1 << 22  # of sums under several weights: 32 MB


def align(phones: Sequence, units: Sequence[int], frame_seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Units and phone labels of one utterance at the labels' rate, the longer cut to the shorter.

    phones: (L,), one label every 10 ms; units: (F,), one every `frame_seconds`, which is the encoder's own. Each label has
    the unit of the frame in which its middle lies: at a multiple of 10 ms that repeats each unit, else nearly so.
    Raises ConfigError.
    """
    units = np.asarray(units)
    if not 0 < frame_seconds < math.inf:
        raise ConfigError(f"frame_seconds is {frame_seconds}: a frame of units lasts longer than 0 s")
    # Whole numbers: a label's middle may lie on the border of two frames, and must not go there by rounding.
    frames_a_label = Fraction(LABEL_SECONDS).limit_denominator(1000) / Fraction(frame_seconds).limit_denominator(
        1_000_000
    )
    halves = 2 * np.arange(len(phones)) + 1
    frame = halves * frames_a_label.numerator // (2 * frames_a_label.denominator)
    frame = frame[: np.searchsorted(frame, len(units))]
    return np.asarray(phones)[: len(frame)], units[frame]


def label_indices(rows: Sequence[Sequence]) -> tuple[list[np.ndarray], np.ndarray]:
    """Labels by number. rows: sequences of strings or of integers -> (list of integer arrays, sorted labels (P,)).

    What is sorted are the labels that occur, not the frames: those may be millions.
    """
    rows = [np.asarray(row) for row in rows]
    ends = np.cumsum([len(row) for row in rows])[:-1]
    flat = np.concatenate([row for row in rows if len(row)] or [np.zeros(0, np.int64)])
    if flat.dtype.kind in "iu" and (not len(flat) or int(flat.max()) - int(flat.min()) < MOST_INTEGERS):
        low = int(flat.min()) if len(flat) else 0
        flat = flat.astype(np.int64) - low
        present = np.bincount(flat, minlength=1) > 0
        labels, flat = np.flatnonzero(present) + low, (np.cumsum(present) - 1)[flat]
    else:
        starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
        seen = _Numbers()
        numbers = np.array([seen[label] for label in flat[starts].tolist()])
        labels, rank = np.unique(np.array(list(seen)), return_inverse=True)
        flat = np.repeat(rank[numbers], np.diff(starts, append=len(flat)))
    return np.split(flat, ends), labels


class _Numbers(dict):
    """key -> its number in order of appearance."""

    def __missing__(self, key):
        self[key] = len(self)
        return self[key]


def joint_counts(phones: Sequence, units: Sequence[int]) -> np.ndarray:
    """Two equal-length sequences -> (P, K) int64: how often each phone meets each unit."""
    if len(phones) != len(units):
        raise ValueError(f"{len(phones)} phone labels for {len(units)} units: align them first")
    if not len(phones):
        raise ValueError("no frame to compare: phones and units are empty")
    ((phone,), phone_labels), ((unit,), unit_labels) = label_indices([phones]), label_indices([units])
    shape = len(phone_labels), len(unit_labels)
    return np.bincount(phone * shape[1] + unit, minlength=shape[0] * shape[1]).reshape(shape)


def quality_of_counts(counts: np.ndarray) -> dict[str, float]:
    """(P, K) counts of (phone, unit) pairs -> {"pnmi", "cluster_purity", "phone_purity"}.

    PNMI is I(phone; unit) / H(phone); 1 when there is but one phone, as in scikit-learn's homogeneity. Phone purity is
    the accuracy of naming a frame by the likeliest phone of its unit; cluster purity the accuracy of the likeliest unit
    of its phone.
    """
    counts = counts[counts.sum(1) > 0][:, counts.sum(0) > 0]
    total = counts.sum()
    phone_entropy = entropy(counts.sum(1))
    information = mutual_info_score(None, None, contingency=counts)
    return {
        "pnmi": float(information / phone_entropy) if phone_entropy > 0 else 1.0,
        "cluster_purity": float(counts.max(1).sum() / total),
        "phone_purity": float(counts.max(0).sum() / total),
    }


def cluster_quality(phones: Sequence, units: Sequence[int]) -> dict[str, float]:
    """Phone labels and units of the same frames, two equal-length sequences -> as `quality_of_counts`."""
    return quality_of_counts(joint_counts(phones, units))


class UtteranceCounts:
    """How often each class (phone, speaker) meets each unit, utterance by utterance, for sums under any weights.

    classes, units: integer arrays, an equally long pair an utterance, not all empty; num_classes, clusters: P and K. Only pairs that
    occur are stored: C of them.
    """

    def __init__(self, classes: Sequence[np.ndarray], units: Sequence[np.ndarray], num_classes: int, clusters: int):
        self.shape = num_classes, clusters
        pairs = np.concatenate(classes) * clusters + np.concatenate(units)
        begins = np.cumsum([0] + [len(row) for row in units])  # of utterances; the last one is the end
        new = np.append(True, pairs[1:] != pairs[:-1])
        new[begins[:-1][np.diff(begins) > 0]] = True
        starts = np.flatnonzero(new)  # of runs of one pair: they are a half of the frames at most
        lengths, pairs = np.diff(starts, append=len(pairs)), pairs[starts]
        cells = np.flatnonzero(np.bincount(pairs))
        column = np.zeros(num_classes * clusters, np.int32)
        column[cells] = np.arange(len(cells))
        rows = lengths.astype(np.float64), column[pairs], np.searchsorted(starts, begins)
        self.counts = csr_matrix(rows, shape=(len(begins) - 1, len(cells)))  # (U, C)
        self.counts.sum_duplicates()
        self._class, self._unit = np.divmod(cells, clusters)  # ascending by class
        self._by_unit = np.argsort(self._unit, kind="stable")

    def table(self) -> np.ndarray:
        """(P, K) int64 of all utterances."""
        table = np.zeros(self.shape, np.int64)
        table[self._class, self._unit] = np.asarray(self.counts.sum(0)).ravel()
        return table

    def agreement(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """weights: (B, U) -> {name: (B,)}, entropies in bits, NaN where no frame has any weight.

        "class_entropy", "unit_entropy", "class_given_unit", "unit_given_class": conditional entropies; "best_unit": fraction
        of frames that have the likeliest unit of their class, "best_class": the likeliest class of their unit;
        "units_in_use": how many occur.
        """
        rows = max(1, CELLS_AT_ONCE // self.counts.shape[1])
        if len(weights) > rows:
            parts = [self.agreement(weights[begin : begin + rows]) for begin in range(0, len(weights), rows)]
            return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        joint = weights @ self.counts  # (B, C)
        total = joint.sum(1)
        total[total == 0] = np.nan

        def entropy_bits(counts):
            return np.log2(total) - xlogy(counts, counts).sum(1) / (total * math.log(2))

        starts = np.flatnonzero(np.diff(self._class, prepend=-1))
        classes, best_unit = np.add.reduceat(joint, starts, axis=1), np.maximum.reduceat(joint, starts, axis=1)
        both = entropy_bits(joint)
        joint = joint[:, self._by_unit]
        starts = np.flatnonzero(np.diff(self._unit[self._by_unit], prepend=-1))
        units, best_class = np.add.reduceat(joint, starts, axis=1), np.maximum.reduceat(joint, starts, axis=1)
        # One class alone has entropy 0, and not what rounding makes of it.
        class_entropy, unit_entropy = (
            np.where((counts > 0).sum(1) == 1, 0.0, entropy_bits(counts)) for counts in (classes, units)
        )
        return {
            "class_entropy": class_entropy,
            "unit_entropy": unit_entropy,
            "class_given_unit": np.clip(both - unit_entropy, 0.0, class_entropy),
            "unit_given_class": np.clip(both - class_entropy, 0.0, unit_entropy),
            "best_unit": best_unit.sum(1) / total,
            "best_class": best_class.sum(1) / total,
            "units_in_use": np.where(np.isnan(total), np.nan, (units > 0).sum(1)),
        }
