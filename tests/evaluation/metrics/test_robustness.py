import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.errors import EvaluationError
from spin_fairseq.evaluation.confidence import intervals, plain
from spin_fairseq.evaluation.metrics.distortions import DISTORTIONS, Distortion
from spin_fairseq.evaluation.metrics.robustness import (
    METRICS,
    RobustnessMeasurement,
    deduplicated,
    drawn,
    measure_robustness,
)
from tests.oracles.edit_distance_oracle import deduplicated_oracle, unit_edit_distance_oracle

pytest.importorskip("rapidfuzz", reason="rapidfuzz is not installed")
rows = st.lists(st.integers(0, 3), min_size=1, max_size=25)
LOUDER = Distortion("louder", "louder", "twice the amplitude", lambda wave, rng: 2 * wave)
CUT = Distortion("cut", "cut", "a random half", lambda wave, rng: wave[: len(wave) // 2] + rng.normal())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(rows, rows), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_equals_the_definition(pairs, seed):
    units, distorted = zip(*pairs)
    measurement = RobustnessMeasurement(units, {"noise": distorted})
    found = plain(measurement)
    assert (found["ued_noise"], found["uer_noise"]) == pytest.approx(unit_edit_distance_oracle(units, distorted))
    # A resample is the same as a data set in which utterances recur.
    counts = np.random.default_rng(seed).integers(0, 3, len(units)) + (np.arange(len(units)) == 0)
    repeated = [np.repeat(np.arange(len(units)), counts)]
    again = [[side[i] for i in repeated[0]] for side in (units, distorted)]
    resampled = measurement.values(counts[None])
    assert [resampled[key][0] for key in ("ued_noise", "uer_noise")] == pytest.approx(unit_edit_distance_oracle(*again))


@given(rows)
def test_deduplication(units):
    assert deduplicated(units).tolist() == deduplicated_oracle(units)


def test_by_hand():
    # 1 2 3 -> 1 3 4: two edits, in 6 and in 2 frames. The second utterance stays.
    found = plain(RobustnessMeasurement([[1, 1, 2, 2, 2, 3], [5, 5]], {"x": [[1, 3, 3, 4], [5, 5, 5]]}))
    assert found == pytest.approx({"ued_x": 2 / 6 / 2, "uer_x": 2 / 4})


def test_limits():
    rng = np.random.default_rng(0)
    units = [rng.integers(0, 500, 200) for _ in range(3)]
    unrelated = [500 + row for row in units]
    single = [np.zeros(9, int)] * 3
    assert set(plain(RobustnessMeasurement(units, {"same": units})).values()) == {0.0}
    assert set(plain(RobustnessMeasurement(single, {"any": [np.zeros(4, int)] * 3})).values()) == {0.0}
    found = plain(RobustnessMeasurement(units, {"all": unrelated}))
    assert found["uer_all"] == 1.0 and 0.95 < found["ued_all"] <= 1.0
    one = RobustnessMeasurement(units[:1], {"all": unrelated[:1]})
    assert np.isnan(intervals(one, samples=5)["ued_all"]).all()


@pytest.mark.parametrize(
    "units, distorted, message",
    [
        ([[1], []], [[1], [2]], "utterance 'v' has units of float64 .0,.: they are a row of whole numbers"),
        ([[1], [2]], [[1], [0.5]], "utterance 'v', distorted by 'noise', has units of float64"),
        ([[1], [2]], [[1]], "1 rows of units, distorted by 'noise', for 2 utterances"),
        ([[1], [2]], [[1], [[2]]], "utterance 'v', distorted by 'noise', has units of int64 .1, 1."),
    ],
)
def test_bad_units_are_named(units, distorted, message):
    with pytest.raises(EvaluationError, match=message):
        RobustnessMeasurement(units, {"noise": distorted}, utterances=["u", "v"])


def test_drawn_utterances():
    assert drawn(10, None).tolist() == list(range(10)) == drawn(10, 10).tolist()
    some = drawn(100, 20, seed=1)
    assert len(set(some)) == 20 and (np.diff(some) > 0).all()
    assert some.tolist() == drawn(100, 20, seed=1).tolist() != drawn(100, 20, seed=2).tolist()


def test_units_of_drawn_utterances_and_their_distortions():
    waves = {i: np.random.default_rng(i).normal(size=50 + i).astype(np.float32) for i in range(40)}
    names = [f"u{i}" for i in range(40)]
    seen = []

    def compute(batch):
        seen.append(len(batch))
        return [np.digitize(wave, [-1, 0, 1]) for wave in batch]

    measurement = measure_robustness(compute, waves.get, names, distortions=(LOUDER, CUT), limit=35, seed=3)
    chosen = drawn(40, 35, 3)
    assert measurement.utterances == tuple(names[i] for i in chosen) and sum(seen) == 3 * 35
    for distortion in (LOUDER, CUT):
        sides = compute([waves[i] for i in chosen]), compute([distortion(waves[i], names[i], 3) for i in chosen])
        expected = unit_edit_distance_oracle(*([row.tolist() for row in side] for side in sides))
        found = plain(measurement)
        assert (found[f"ued_{distortion.key}"], found[f"uer_{distortion.key}"]) == pytest.approx(expected)


def test_every_metric_is_described():
    measurement = RobustnessMeasurement([[1]], {distortion.key: [[1]] for distortion in DISTORTIONS})
    assert measurement.keys == tuple(metric.key for metric in METRICS)
