import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spin_fairseq.errors import ConfigError
from spin_fairseq.evaluation import confidence
from spin_fairseq.evaluation.confidence import Measurement, intervals, paired_test, plain, resamples
from spin_fairseq.evaluation.metrics.phones import PhoneMeasurement


class Means(Measurement):
    """The mean of x, the fraction of utterances that were drawn at all, and something that is never defined."""

    keys = ("mean", "drawn", "never")

    def __init__(self, x, names=None):
        self.x = np.asarray(x, float)
        self.utterances = tuple(names or range(len(self.x)))

    def values(self, weights):
        return {
            "mean": weights @ self.x / weights.sum(1),
            "drawn": (weights > 0).mean(1),
            "never": np.full(len(weights), np.nan),
        }


def test_resamples_draw_with_replacement_and_do_not_depend_on_the_blocks(monkeypatch):
    rows = np.concatenate(list(resamples(30, 120, seed=5)))
    assert rows.shape == (120, 30) and (rows.sum(1) == 30).all() and (rows >= 0).all()
    assert rows.mean(0) == pytest.approx(np.ones(30), abs=0.4)
    assert (rows == 0).mean() == pytest.approx((1 - 1 / 30) ** 30, abs=0.03)
    monkeypatch.setattr(confidence, "SAMPLES_AT_ONCE", 7)
    assert (np.concatenate(list(resamples(30, 120, seed=5))) == rows).all()
    assert (np.concatenate(list(resamples(30, 120, seed=6))) != rows).any()


def test_the_interval_of_a_mean_is_that_of_the_central_limit():
    x = np.random.default_rng(1).normal(3.0, 2.0, 400)
    measurement = Means(x)
    assert plain(measurement)["mean"] == pytest.approx(x.mean())
    low, high = intervals(measurement, samples=2000)["mean"]
    error = 1.96 * x.std() / np.sqrt(len(x))
    assert low == pytest.approx(x.mean() - error, abs=0.1 * error)
    assert high == pytest.approx(x.mean() + error, abs=0.1 * error)
    narrow = intervals(measurement, level=0.5)["mean"]
    assert low < narrow[0] < x.mean() < narrow[1] < high


def test_intervals_lie_about_the_value_where_resamples_do_not():
    # Every resample draws about 63 % of the utterances, the data has all.
    measurement = Means(np.arange(50))
    low, high = intervals(measurement)["drawn"]
    assert plain(measurement)["drawn"] == 1.0 and low < 1.0 < high and high - low < 0.25


class Fixed(Measurement):
    """A value beside resampled ones that are given."""

    keys = ("metric",)
    utterances = ("a", "b")

    def __init__(self, value, resampled):
        self.value, self.resampled = value, iter(resampled)

    def values(self, weights):
        is_plain = len(weights) == 1 and (weights == 1).all()
        return {"metric": np.array([self.value] if is_plain else [next(self.resampled) for _ in weights])}


def test_an_interval_contains_its_value_where_resamples_are_skewed():
    """Guards against .950 [.951, .951]: nearly all resamples equal, a few far below, so the mean is under every quantile."""
    low, high = intervals(Fixed(0.95, [0.93] * 990 + [0.88] * 10))["metric"]
    assert low == high == 0.95
    low, high = intervals(Fixed(0.95, [0.93] * 900 + [0.92] * 100))["metric"]
    assert low == pytest.approx(0.94) and high == 0.95


@given(
    value=st.floats(-1e3, 1e3),
    resampled=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40),
    level=st.sampled_from([0.01, 0.5, 0.95, 0.999]),
)
def test_an_interval_always_contains_its_value(value, resampled, level):
    measurement = Fixed(value, resampled)
    low, high = intervals(measurement, samples=len(resampled), level=level)["metric"]
    assert low <= value <= high
    test = paired_test(Fixed(value, resampled), Fixed(0.0, [0.0] * len(resampled)), len(resampled), level)["metric"]
    assert test["low"] <= value <= test["high"]


def test_undefined_metrics_and_single_utterances_have_no_interval():
    measurement = Means([1.0, 2.0, 3.0])
    assert np.isnan(plain(measurement)["never"])
    assert np.isnan(intervals(measurement)["never"]).all() and np.isfinite(intervals(measurement)["mean"]).all()
    assert np.isnan(intervals(Means([1.0]))["mean"]).all()
    test = paired_test(Means([1.0]), Means([2.0]))["mean"]
    assert test["difference"] == -1.0 and np.isnan([test["low"], test["high"], test["p"]]).all()
    assert np.isnan(list(paired_test(measurement, measurement)["never"].values())).all()


def test_a_pair_is_compared_on_the_same_resamples():
    rng = np.random.default_rng(2)
    hard = rng.normal(0, 10, 200)  # how hard an utterance is, for both
    a, b = Means(hard + 0.3 + rng.normal(0, 1, 200)), Means(hard + rng.normal(0, 1, 200))
    test = paired_test(a, b)["mean"]
    difference = a.x - b.x
    assert test["difference"] == pytest.approx(difference.mean())
    assert test["high"] - test["low"] == pytest.approx(2 * 1.96 * difference.std() / np.sqrt(200), rel=0.1)
    assert test["p"] < 0.05 and test["low"] > 0
    alone = intervals(a)["mean"]
    assert alone[0] < plain(b)["mean"] < alone[1]  # unpaired, nothing would be seen
    turned = paired_test(b, a)["mean"]
    assert turned["p"] == test["p"] and turned["low"] == pytest.approx(-test["high"], abs=1e-3)


def test_p_by_hand(monkeypatch):
    # Three resamples, the differences 2, 4, 6 of a measured 1: moved to median 0 they are -2, 0, 2; two are as large as 1.
    drawn = [np.array([[3.0, 0.0]]), np.array([[2.0, 1.0]]), np.array([[0.0, 3.0]])]
    monkeypatch.setattr(confidence, "resamples", lambda *_: iter(drawn))

    class Looked(Means):
        keys = ("mean",)

        def values(self, weights):
            return {"mean": np.array([{3.0: 2.0, 2.0: 4.0, 0.0: 6.0, 1.0: 1.0}[row[0]] for row in weights]) * self.x[0]}

    test = paired_test(Looked([1.0, 1.0]), Looked([0.0, 0.0]), samples=3, level=0.5)["mean"]
    assert test == {"difference": 1.0, "low": 0.0, "high": 2.0, "p": 0.75}


def test_no_difference_has_p_1():
    measurement = Means([1.0, 5.0, 2.0])
    assert paired_test(measurement, measurement)["mean"] == {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_other_utterances_are_refused():
    with pytest.raises(ConfigError, match="one measurement has 3, the other 2"):
        paired_test(Means([1, 2, 3]), Means([1, 2]))
    with pytest.raises(ConfigError, match="number 2 is 'b' in one and 'c' in the other"):
        paired_test(Means([1, 2], ["a", "b"]), Means([1, 2], ["a", "c"]))
    with pytest.raises(ConfigError, match="samples is 0"):
        intervals(Means([1, 2]), samples=0)
    with pytest.raises(ConfigError, match="level is 95"):
        intervals(Means([1, 2]), level=95)


def artificial(rng, utterances, models):
    """PhoneMeasurements of models that are equally good, each on utterances that are noisy to another degree."""
    phones = [np.repeat(rng.integers(0, 20, 20), 8) for _ in range(utterances)]
    noise = rng.beta(3, 3, utterances)

    def units(labels, fraction):
        right = 3 * labels[::2] + rng.integers(0, 3, len(labels) // 2)
        return np.where(
            rng.random(len(right)) < fraction + 0.1 * rng.standard_normal(), rng.integers(0, 60, len(right)), right
        )

    return [PhoneMeasurement(phones, [units(*pair) for pair in zip(phones, noise)], 60) for _ in range(models)]


@pytest.mark.slow
def test_intervals_of_pnmi_hold_its_mean_over_all_draws():
    found = [artificial(np.random.default_rng(seed), 40, 1)[0] for seed in range(150)]
    values = [plain(measurement)["pnmi"] for measurement in found]
    ranges = [intervals(measurement, samples=100)["pnmi"] for measurement in found]
    held = np.mean([low <= np.mean(values) <= high for low, high in ranges])
    assert held > 0.85


@pytest.mark.slow
def test_equal_models_seldom_differ():
    p = [paired_test(*artificial(np.random.default_rng(seed), 125, 2), samples=100)["pnmi"]["p"] for seed in range(100)]
    assert np.mean(np.array(p) <= 0.05) < 0.12
