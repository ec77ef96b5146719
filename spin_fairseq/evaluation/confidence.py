"""How certain a metric is: bootstrap intervals over utterances, and a paired test between two models.

Every metric is a function of sums over utterances (counts, edit distances, correct answers), so a resample of the
utterances is a row of weights, and nothing is computed anew but the sums.

Utterances are drawn with replacement (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6, 13, 16; for
speech: Bisani & Ney, ICASSP 2004). Many metrics depend on how much speech there is: with fewer different utterances,
PNMI is larger and less of a codebook is in use. A resample has fewer different utterances, so the resampled metrics as a
whole lie beside the measured one, often further away than the interval is wide. They are therefore moved until their median
is the measured value, and the interval lies between two of their quantiles (a percentile interval of resamples whose median
bias is taken away). It always contains the value: the mean of a skewed distribution may lie outside of its quantiles, the
median cannot. For metrics that are plain averages the move changes next to nothing. An interval thus says how much the metric
would vary over other data of the same size. On artificial utterances (300 draws), 95 % intervals of PNMI contained its mean
over all draws in 94 % of the draws of 40 utterances (52 % without moving); two equal models differed with p <= 0.05 in 10 %
of the draws of 40 utterances and in 6 % of those of 125: with a few dozen utterances, p is too small.

Utterances count as independent, also those of one speaker.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from ..errors import ConfigError

SAMPLES_AT_ONCE = 50  # a resample may need a row as long as there are pairs of phone and unit


class Measurement(ABC):
    """Metrics of one model on some utterances.

    Attributes:
        keys: the metrics' keys, a tuple.
        utterances: the utterances' names in the order of the weights' columns, a tuple of U.
        reasons: {key: why the metric is undefined}, for those that are.
    """

    keys = ()
    utterances = ()
    reasons = {}

    @abstractmethod
    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """weights: (B, U), how often each utterance counts in each of B resamples -> {key: (B,) float, NaN: undefined}."""


def plain(measurement: Measurement) -> dict[str, float]:
    """-> {key: float}: the metrics of all utterances, each counted once; NaN where undefined."""
    values = measurement.values(np.ones((1, len(measurement.utterances))))
    return {key: float(values[key][0]) for key in measurement.keys}


def resamples(utterances: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield weights, (up to SAMPLES_AT_ONCE, utterances) float64, `samples` rows in all; they depend on the arguments alone."""
    rng = np.random.default_rng(seed)
    for begin in range(0, samples, SAMPLES_AT_ONCE):
        rows = min(SAMPLES_AT_ONCE, samples - begin)
        drawn = rng.integers(0, utterances, (rows, utterances)) + utterances * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * utterances).reshape(rows, utterances).astype(np.float64)


def _resampled(measurement, samples, seed):
    """-> {key: (samples,)}."""
    blocks = [measurement.values(weights) for weights in resamples(len(measurement.utterances), samples, seed)]
    return {key: np.concatenate([block[key] for block in blocks]) for key in measurement.keys}


def _centred(value, resampled):
    """The defined resampled values, moved so that their median is `value`; empty where there is no interval."""
    defined = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or not len(defined):
        return defined[:0]
    return defined - np.median(defined) + value


def _range(value, centred, level):
    """Quantiles of values whose median is `value`, which therefore lies between them: exactly, whatever is rounded."""
    if not len(centred):
        return float("nan"), float("nan")
    low, high = np.quantile(centred, [(1 - level) / 2, (1 + level) / 2])
    return min(float(low), value), max(float(high), value)


def intervals(
    measurement: Measurement, samples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Bootstrap interval of every metric over utterances.

    samples: how many resamples; level: fraction of them inside. The same seed and number of utterances give the same resamples.
    Returns {key: (low, high)} with low <= value <= high, (NaN, NaN) where the metric is undefined or there are fewer than two utterances.
    Raises ConfigError.
    """
    _check(samples, level)
    if len(measurement.utterances) < 2:
        return {key: (float("nan"), float("nan")) for key in measurement.keys}
    value, resampled = plain(measurement), _resampled(measurement, samples, seed)
    return {key: _range(value[key], _centred(value[key], resampled[key]), level) for key in measurement.keys}


def paired_test(
    a: Measurement, b: Measurement, samples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Is a's metric another than b's? Two measurements of the same utterances in the same order.

    Both see the same resamples, so what is hard or easy for both cancels. p is two-sided: the fraction of the resampled
    differences, moved to median 0, that are at least as large as the measured one (the measured one counted among them).

    Returns {key: {"difference": a - b, "low", "high", "p"}} for the keys that both have; NaN as in `intervals`.
    Raises ConfigError: the utterances are not the same.
    """
    _check(samples, level)
    if tuple(a.utterances) != tuple(b.utterances):
        raise ConfigError(
            f"a paired test needs the same utterances in the same order: one measurement has {len(a.utterances)}, the "
            f"other {len(b.utterances)}{_first_difference(a.utterances, b.utterances)}; measure both on one manifest"
        )
    keys = [key for key in a.keys if key in b.keys]
    of_a, of_b = plain(a), plain(b)
    enough = len(a.utterances) > 1
    resampled_a, resampled_b = (_resampled(one, samples, seed) if enough else {} for one in (a, b))
    found = {}
    for key in keys:
        difference = of_a[key] - of_b[key]
        centred = _centred(difference, resampled_a[key] - resampled_b[key]) if enough else np.empty(0)
        low, high = _range(difference, centred, level)
        beyond = np.sum(np.abs(centred - difference) >= abs(difference))
        p = float((1 + beyond) / (1 + len(centred))) if len(centred) else float("nan")
        found[key] = {"difference": difference, "low": low, "high": high, "p": p}
    return found


def _check(samples, level):
    if samples < 1:
        raise ConfigError(f"samples is {samples}: a bootstrap needs at least one resample")
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}: it is a fraction between 0 and 1, such as 0.95")


def _first_difference(one, other):
    for index, pair in enumerate(zip(one, other)):
        if pair[0] != pair[1]:
            return f", and number {index + 1} is {pair[0]!r} in one and {pair[1]!r} in the other"
    return ""
