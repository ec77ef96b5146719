"""Do units stay the same where the words do? Unit edit distance between an utterance and its distorted self."""

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import EvaluationError
from ..confidence import Measurement
from .distortions import DISTORTIONS, Distortion
from .metric import Metric
from .inputs import utterance_names

UTTERANCES = 24  # measured by default, drawn by the seed: each is encoded once more for every distortion
AT_ONCE = 32  # utterances whose waves are in memory

_GAT = "Gat et al. 2023 (Augmentation Invariant Discrete Representation), definition 3.1"
_NAST = "Messica & Adi 2024 (NAST), as its published code computes it"

METRICS = tuple(
    Metric(
        f"{prefix}_{distortion.key}", f"{title}, {distortion.title}", "lower", definition.format(distortion.definition),
        source, chance=f"0 for a single unit{chance}",
    )
    for prefix, title, definition, source, chance in (
        (
            "ued", "UED",
            "Unit edit distance under {}: Levenshtein distance of the de-duplicated units with and without it, over the number "
            "of frames of the undistorted utterance; mean over utterances. Units that last longer have less of it.",
            _GAT, "",
        ),
        (
            "uer", "unit error rate",
            "Levenshtein distances of the de-duplicated units with and without {}, summed over utterances, over the number of "
            "de-duplicated units without it.",
            _NAST, ", about 1 for unrelated ones",
        ),
    )
    for distortion in DISTORTIONS
)  # fmt: skip


def deduplicated(units: Sequence[int]) -> np.ndarray:
    """[5, 5, 7, 5] -> [5, 7, 5]: (frames,) integers -> (n,)."""
    units = np.asarray(units)
    return units[np.diff(units, prepend=units[:1] - 1) != 0]


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Levenshtein distance of two sequences of integers: insertions, deletions and replacements cost 1 each."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(list(map(int, one)), list(map(int, other)))


class RobustnessMeasurement(Measurement):
    """UED and unit error rate of each distortion.

    units: a row of integers an utterance, (frames,), of the waves as they are; distorted: {key of a distortion: the same of
    the distorted waves}, which may have other numbers of frames. utterances: names, or None. Raises EvaluationError.
    """

    def __init__(
        self, units: Sequence[np.ndarray], distorted: dict[str, Sequence[np.ndarray]], *,
        utterances: Sequence[str] | None = None,
    ):  # fmt: skip
        self.utterances = utterance_names(utterances, len(units))
        self.keys = tuple(f"{prefix}_{key}" for prefix in ("ued", "uer") for key in distorted)
        self.reasons = {}
        self.frames = self._lengths(units, "")
        plain = [deduplicated(row) for row in units]
        self.units = np.array([len(row) for row in plain], dtype=np.float64)
        self.distances = {}
        for key, rows in distorted.items():
            self._lengths(rows, f", distorted by {key!r},")
            pairs = zip(plain, map(deduplicated, rows))
            self.distances[key] = np.array([edit_distance(*pair) for pair in pairs], dtype=np.float64)

    def _lengths(self, rows, distorted):
        if len(rows) != len(self.utterances):
            raise EvaluationError(
                f"{len(rows)} rows of units{distorted} for {len(self.utterances)} utterances; each needs one"
            )
        for name, row in zip(self.utterances, map(np.asarray, rows)):
            if row.ndim != 1 or not len(row) or row.dtype.kind not in "iu":
                raise EvaluationError(
                    f"utterance {name!r}{distorted} has units of {row.dtype} {row.shape}: "
                    "they are a row of whole numbers, at least one"
                )
        return np.array([len(row) for row in rows], dtype=np.float64)

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        weights = np.asarray(weights, dtype=np.float64)
        found = {}
        for key, distances in self.distances.items():
            found[f"ued_{key}"] = weights @ (distances / self.frames) / weights.sum(1)
            found[f"uer_{key}"] = weights @ distances / (weights @ self.units)
        return found


def drawn(count: int, limit: int | None = UTTERANCES, seed: int = 0) -> np.ndarray:
    """Indices of the utterances that are measured: `limit` of 0..count-1, drawn by the seed and sorted; None: all."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))


def measure_robustness(
    compute: Callable[[list[np.ndarray]], list[np.ndarray]], read: Callable[[int], np.ndarray],
    utterances: Sequence[str], *, distortions: Sequence[Distortion] = DISTORTIONS, limit: int | None = UTTERANCES,
    seed: int = 0,
) -> RobustnessMeasurement:  # fmt: skip
    """-> RobustnessMeasurement of the drawn utterances.

    compute: a list of (T,) float32 waves at 16 kHz -> a list of (frames,) integer arrays, their units. read: index of an
    utterance -> its wave. utterances: the names of all; distortions depend on them and on `seed`.
    Raises EvaluationError, ConfigError, AudioError.
    """
    utterances = utterance_names(utterances, len(utterances))
    chosen = drawn(len(utterances), limit, seed)
    units, distorted = [], {distortion.key: [] for distortion in distortions}
    for begin in range(0, len(chosen), AT_ONCE):
        names = [utterances[i] for i in chosen[begin : begin + AT_ONCE]]
        waves = [np.asarray(read(int(i)), dtype=np.float32) for i in chosen[begin : begin + AT_ONCE]]
        units += compute(waves)
        for distortion in distortions:
            distorted[distortion.key] += compute([distortion(wave, name, seed) for wave, name in zip(waves, names)])
    return RobustnessMeasurement(units, distorted, utterances=[utterances[i] for i in chosen])
