import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import homogeneity_score

from spin_fairseq.errors import EvaluationError, PhoneLabelError
from spin_fairseq.evaluation.clusters import align, cluster_quality
from spin_fairseq.evaluation.confidence import intervals, plain
from spin_fairseq.evaluation.metrics.phones import METRICS, PhoneMeasurement, best_phone_per_unit
from tests.oracles.bootstrap_oracle import draws, repeated
from tests.oracles.clusters_oracle import best_phone_oracle, clusters_oracle, conditional_entropy_oracle

PHONES = np.array(["AA", "B", "CH", "SIL", "Z"])


def random_data(rng, utterances=6, clusters=8, strings=True):
    """Labels and units of unequal length; units know something of the phones."""
    phones = [rng.integers(0, len(PHONES), rng.integers(1, 30)) for _ in range(utterances)]
    units = []
    for row in phones:
        guess = np.where(rng.random(len(row)) < 0.6, row, rng.integers(0, clusters, len(row)))[::2]
        units.append(guess[: max(1, len(guess) - rng.integers(0, 3))])
    return [PHONES[row] if strings else row for row in phones], units


def flat(phones, units):
    return [np.concatenate(side).tolist() for side in zip(*(align(*pair, 0.02) for pair in zip(phones, units)))]


@settings(deadline=None, max_examples=60)
@given(utterances=st.integers(1, 6), strings=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_equals_the_oracle_and_the_libraries(utterances, strings, seed):
    phones, units = random_data(np.random.default_rng(seed), utterances, strings=strings)
    measurement = PhoneMeasurement(phones, units, 8)
    found = plain(measurement)
    phone, unit = flat(phones, units)
    assert found["phone_given_unit"] == pytest.approx(conditional_entropy_oracle(phone, unit), abs=1e-9)
    assert found["unit_given_phone"] == pytest.approx(conditional_entropy_oracle(unit, phone), abs=1e-9)
    # Cluster quality is what training logs: scikit-learn's mutual information.
    for expected in (clusters_oracle(phone, unit), cluster_quality(phone, unit)):
        if len(set(phone)) == 1:
            assert math.isnan(found["pnmi"]) and measurement.reasons == {"pnmi": "all frames have the same phone"}
        else:
            assert found["pnmi"] == pytest.approx(expected["pnmi"], abs=1e-9) and not measurement.reasons
            assert found["pnmi"] == pytest.approx(homogeneity_score(phone, unit), abs=1e-6)
        assert {key: found[key] for key in ("phone_purity", "cluster_purity")} == pytest.approx(
            {key: expected[key] for key in ("phone_purity", "cluster_purity")}
        )


@settings(deadline=None, max_examples=25)
@given(utterances=st.integers(2, 6), seed=st.integers(0, 2**32 - 1))
def test_a_weight_repeats_an_utterance(utterances, seed):
    rng = np.random.default_rng(seed)
    phones, units = random_data(rng, utterances)
    weights = draws(rng, 4, utterances)
    found = PhoneMeasurement(phones, units, 8).values(weights)
    for row, weight in enumerate(weights):
        expected = plain(PhoneMeasurement(*repeated(weight, phones, units), 8))
        assert {key: found[key][row] for key in expected} == pytest.approx(expected, abs=1e-9, nan_ok=True)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_counts_and_best_phones(seed):
    phones, units = random_data(np.random.default_rng(seed))
    measurement = PhoneMeasurement(phones, units, 10)  # units 8 and 9 never occur
    phone, unit = flat(phones, units)
    counts = measurement.counts()
    assert counts.shape == (len(measurement.phones), 10) and measurement.phones.tolist() == sorted(set(phone))
    for p, name in enumerate(measurement.phones):
        for u in range(10):
            assert counts[p, u] == sum(pair == (name, u) for pair in zip(phone, unit))
    best = best_phone_per_unit(counts, measurement.phones)
    assert {b.unit: (pytest.approx(b.fraction), b.frames) for b in best} == best_phone_oracle(phone, unit)
    for b in best:
        assert counts[measurement.phones.tolist().index(b.phone), b.unit] == pytest.approx(b.fraction * b.frames)


def test_by_hand():
    # Unit 1 is always A; unit 0 is half B, half A. H(phone) is that of (3/4, 1/4), each unit is one half of the frames.
    found = plain(PhoneMeasurement([["A"] * 4, ["A", "A", "B", "B"]], [[1, 1], [0, 0]], 2))
    phone_entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert found["phone_given_unit"] == pytest.approx(0.5)
    assert found["pnmi"] == pytest.approx(1 - 0.5 / phone_entropy)
    # Of A's six labels four have unit 1, two unit 0: 0.75 H(2/3, 1/3).
    assert found["unit_given_phone"] == pytest.approx(0.75 * (math.log2(3) - 2 / 3))
    assert found["phone_purity"] == found["cluster_purity"] == pytest.approx(0.75)


def test_perfect_units():
    labels = [np.repeat([0, 1, 2, 3], 6), np.repeat([3, 1], 8)]
    found = plain(PhoneMeasurement(labels, [row[::2] for row in labels], 4))
    assert found == pytest.approx(
        {"pnmi": 1.0, "phone_purity": 1.0, "cluster_purity": 1.0, "phone_given_unit": 0.0, "unit_given_phone": 0.0}
    )
    assert np.array(list(intervals(PhoneMeasurement(labels, [row[::2] for row in labels], 4)).values())).ravel() == (
        pytest.approx([1, 1] * 3 + [0, 0] * 2, abs=1e-9)
    )


def test_random_units_say_next_to_nothing():
    rng = np.random.default_rng(0)
    phones = [rng.integers(0, 4, 2000) for _ in range(10)]
    found = plain(PhoneMeasurement(phones, [rng.integers(0, 8, 1000) for _ in phones], 8))
    assert 0 < found["pnmi"] < 0.005 and found["phone_given_unit"] == pytest.approx(2, abs=0.01)
    assert found["phone_purity"] == pytest.approx(1 / 4, abs=0.02)


def test_one_unit_only():
    found = plain(PhoneMeasurement([list("AABC")], [[5, 5]], 9))
    assert found == pytest.approx(
        {"pnmi": 0.0, "phone_purity": 0.5, "cluster_purity": 1.0, "phone_given_unit": 1.5, "unit_given_phone": 0.0}
    )


def test_numbered_labels_get_their_names():
    measurement = PhoneMeasurement([np.array([2, 2, 0, 0], np.int16)], [[1, 1]], 3, symbols=["AA", "B", "CH"])
    assert measurement.phones.tolist() == ["AA", "CH"] and measurement.counts().tolist() == [[0, 2, 0], [0, 2, 0]]


def test_the_longer_is_cut():
    long = plain(PhoneMeasurement([list("AABBCCDD")], [[0, 1]], 2))
    assert long["pnmi"] == pytest.approx(1.0)  # A and B alone
    assert plain(PhoneMeasurement([list("AAB")], [[0, 1, 1, 1]], 2)) == plain(
        PhoneMeasurement([list("AAB")], [[0, 1]], 2)
    )
    slow = PhoneMeasurement([list("AAAABBBB")], [[0, 1]], 2, frame_seconds=0.04)
    assert plain(slow)["pnmi"] == pytest.approx(1.0)


def test_utterances_without_units_count_for_nothing():
    measurement = PhoneMeasurement([list("AABB"), list("CC")], [[0, 1], []], 2)
    assert plain(measurement) == plain(PhoneMeasurement([list("AABB")], [[0, 1]], 2))
    assert np.isnan(measurement.values(np.array([[0.0, 2.0]]))["phone_purity"]).all()


@pytest.mark.parametrize(
    "phones, units, error, message",
    [
        ([list("AA"), None], [[0], [1]], PhoneLabelError, "utterance 'two' has no phone labels"),
        ([list("AA"), []], [[0], [1]], PhoneLabelError, "utterance 'two' has no phone labels"),
        ([list("AA")], [[0], [1]], EvaluationError, "1 rows of phone labels for 2 utterances"),
        (
            [list("AA")] * 2,
            [[0], [3]],
            EvaluationError,
            "utterance 'two' has the unit 3: with 3 clusters they are 0..2",
        ),
        ([list("AA")] * 2, [[-1], [1]], EvaluationError, "utterance 'one' has the unit -1"),
        ([list("AA")] * 2, [[0], [0.5]], EvaluationError, "utterance 'two': units are a row of whole numbers"),
        ([list("AA")] * 2, [[0], [[1]]], EvaluationError, "utterance 'two': units are a row of whole numbers"),
        ([list("AA")] * 2, [[], []], EvaluationError, "no utterance has a unit"),
        ([list("AA")] * 2, [[0]], EvaluationError, "1 utterances have 2 names"),
        ([list("AA")] * 2, [], EvaluationError, "the split is empty"),
    ],
)
def test_what_cannot_be_measured_is_named(phones, units, error, message):
    with pytest.raises(error, match=message):
        PhoneMeasurement(phones, units, 3, utterances=["one", "two"])


def test_an_utterance_twice():
    with pytest.raises(EvaluationError, match="utterance 'a' is there twice"):
        PhoneMeasurement([list("AA")] * 2, [[0], [1]], 2, utterances=["a", "a"])


def test_metrics_are_described():
    assert [metric.key for metric in METRICS] == list(PhoneMeasurement.keys)
