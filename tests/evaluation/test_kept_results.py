import json

import numpy as np
import pytest

from spin_fairseq.evaluation.confidence import Measurement, intervals, paired_test, plain
from spin_fairseq.evaluation.kept_results import KeptMeasurement, KeptResults

SAMPLES, SEED = 120, 3


class Means(Measurement):
    """The weighted mean of a number an utterance, and one metric that is undefined."""

    keys = ("mean", "nothing")
    reasons = {"nothing": "there is nothing"}

    def __init__(self, numbers):
        self.numbers = np.asarray(numbers, dtype=float)
        self.utterances = tuple(f"u{i}" for i in range(len(numbers)))

    def values(self, weights):
        return {"mean": weights @ self.numbers / weights.sum(1), "nothing": np.full(len(weights), np.nan)}


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return Means(rng.normal(size=30)), Means(rng.normal(size=30) + 0.3)


def test_a_kept_measurement_gives_the_same_intervals_and_tests(pair, tmp_path):
    results, read = KeptResults(tmp_path), []
    for name, measurement in zip("ab", pair):
        kept = KeptMeasurement.of(measurement, measurement.keys, SAMPLES, SEED)
        results.write(name, "group", "fingerprint", [kept], 1.5)
        ((again,), seconds) = results.read(name, "group", "fingerprint")
        assert seconds == 1.5
        assert plain(again)["mean"] == plain(measurement)["mean"]
        assert intervals(again, SAMPLES, 0.9, SEED)["mean"] == intervals(measurement, SAMPLES, 0.9, SEED)["mean"]
        read.append(again)
    assert paired_test(*read, SAMPLES, seed=SEED)["mean"] == paired_test(*pair, SAMPLES, seed=SEED)["mean"]
    anything = dict.fromkeys(("mean", "nothing"), (-np.inf, np.inf))
    table = read[0].table(0.95, anything)
    assert table["nothing"] == {"value": None, "low": None, "high": None, "reason": "there is nothing"}
    assert table["mean"]["low"] < table["mean"]["value"] < table["mean"]["high"]
    json.dumps(table, allow_nan=False)
    cut = read[0].table(0.95, {**anything, "mean": (table["mean"]["value"], table["mean"]["high"] + 1)})["mean"]
    assert cut == {**table["mean"], "low": table["mean"]["value"]}


def test_other_weights_are_refused(pair):
    kept = KeptMeasurement.of(pair[0], ("mean",), SAMPLES, SEED)
    with pytest.raises(KeyError):
        kept.values(np.full((1, 30), 2.0))


def test_what_is_of_another_fingerprint_or_damaged_is_not_read(pair, tmp_path):
    results = KeptResults(tmp_path)
    assert results.read("a", "group", "fingerprint") is None
    results.write("a", "group", "fingerprint", [KeptMeasurement.of(pair[0], ("mean",), SAMPLES, SEED)], 1.0)
    assert results.read("a", "group", "other") is None
    arrays = tmp_path / "a" / "group.npz"
    arrays.write_bytes(arrays.read_bytes()[:-30])
    assert results.read("a", "group", "fingerprint") is None
    (tmp_path / "a" / "group.json").write_text('{"fingerprint": "fingerprint"')
    assert results.read("a", "group", "fingerprint") is None
