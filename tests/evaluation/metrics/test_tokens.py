import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.errors import EvaluationError, PhoneLabelError
from spin_fairseq.evaluation.clusters import align
from spin_fairseq.evaluation.confidence import intervals, plain
from spin_fairseq.evaluation.metrics.folds import held_out_folds
from spin_fairseq.evaluation.metrics.tokens import METRICS, ORDERS, TokenMeasurement
from tests.oracles.bootstrap_oracle import draws, repeated
from tests.oracles.tokens_oracle import WittenBell, boundaries_oracle, matches_oracle, tokens_oracle, without_repeats

BOUNDARY_KEYS = ["boundary_precision", "boundary_recall", "boundary_f1", "over_segmentation", "r_value"]


def random_data(rng, utterances, clusters=5):
    """Units that last a few frames, and phones whose changes lie near some of theirs; lengths differ."""
    units, phones = [], []
    for _ in range(utterances):
        row = np.repeat(rng.integers(0, clusters, 4), rng.integers(1, 4, 4))
        units.append(row)
        label = np.repeat(rng.integers(0, 3, 5), rng.integers(1, 6, 5))
        phones.append(np.array(["A", "B", "C"])[label])
    return units, phones


@settings(deadline=None, max_examples=50)
@given(utterances=st.integers(1, 5), seconds=st.sampled_from([0.01, 0.02, 0.04]), seed=st.integers(0, 2**32 - 1))
def test_equals_the_oracle(utterances, seconds, seed):
    rng = np.random.default_rng(seed)
    units, phones = random_data(rng, utterances)
    found = plain(TokenMeasurement(units, 5, seconds, phones))
    expected = tokens_oracle([row.tolist() for row in units], 5, seconds)
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-9)

    matches = changes = reference = 0
    for pair in zip(phones, units):
        phone, unit = (boundaries_oracle(row.tolist()) for row in align(*pair, seconds))
        matches, changes, reference = (
            matches + matches_oracle(unit, phone, 2),
            changes + len(unit),
            reference + len(phone),
        )
    if reference and matches:
        precision, recall = matches / changes, matches / reference
        assert found["boundary_precision"] == pytest.approx(precision)
        assert found["boundary_recall"] == pytest.approx(recall)
        assert found["boundary_f1"] == pytest.approx(2 * precision * recall / (precision + recall))
        assert found["over_segmentation"] == pytest.approx(recall / precision - 1)  # as the paper has it
    elif not reference:
        assert np.isnan([found[key] for key in BOUNDARY_KEYS]).all()


@settings(deadline=None, max_examples=25)
@given(utterances=st.integers(2, 7), seed=st.integers(0, 2**32 - 1))
def test_ngrams_equal_the_oracle(utterances, seed):
    units, _ = random_data(np.random.default_rng(seed), utterances)
    found = plain(TokenMeasurement(units, 5, seed=3))
    rows, folds = [without_repeats(row.tolist()) for row in units], held_out_folds(np.zeros(utterances), 5, 3)
    for key, order in ORDERS.items():
        bits = 0.0
        for row, fold in zip(rows, folds):
            bits += WittenBell([other for other, its in zip(rows, folds) if its != fold], 5, order).bits(row)
        assert found[key] == pytest.approx(2 ** (bits / sum(map(len, rows))))


@settings(deadline=None, max_examples=25)
@given(utterances=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_a_weight_repeats_an_utterance(utterances, seed):
    rng = np.random.default_rng(seed)
    units, phones = random_data(rng, utterances)
    weights = draws(rng, 4, utterances)
    found = TokenMeasurement(units, 5, phones=phones).values(weights)
    for row, weight in enumerate(weights):
        expected = plain(TokenMeasurement(*repeated(weight, units), 5, phones=repeated(weight, phones)[0]))
        for key in set(expected) - set(ORDERS):  # n-grams are not counted anew
            assert found[key][row] == pytest.approx(expected[key], abs=1e-9, nan_ok=True)


def test_by_hand():
    # 0.16 s; three units without repeats; 0 has 4 frames of 8, 1 and 2 two each.
    found = plain(TokenMeasurement([[0, 0, 0, 0, 1, 1, 2, 2]], 4, phones=[list("AAAAAAABBBBBCCCC")]))
    assert found["units_per_second"] == pytest.approx(50) and found["deduplicated_per_second"] == pytest.approx(
        3 / 0.16
    )
    assert found["entropy"] == pytest.approx(1.5) and found["perplexity"] == pytest.approx(2**1.5)
    assert found["bitrate"] == pytest.approx(75) and found["deduplicated_bitrate"] == pytest.approx(
        3 / 0.16 * math.log2(3)
    )
    assert found["codebook_use"] == 0.75
    # Units change at 80 and 120 ms, phones at 70 and 120 ms.
    assert (
        found["boundary_precision"] == found["boundary_recall"] == found["r_value"] == 1
        and found["over_segmentation"] == 0
    )


def test_ngrams_by_hand():
    # Each of two utterances is predicted from the other: 0 1 2 in both. K = 4, Witten-Bell:
    # unigrams (1 + 3 / 4) / 6 each; bigrams after a history seen once (1 + p) / 2 with p that of the unigram.
    found = plain(TokenMeasurement([[0, 1, 2], [0, 0, 1, 2]], 4))
    unigram = (1 + 3 / 4) / 6
    bigram = (1 + unigram) / 2
    assert found["unigram_perplexity"] == pytest.approx(1 / unigram)
    assert found["bigram_perplexity"] == pytest.approx(1 / bigram)
    assert found["trigram_perplexity"] == pytest.approx(2 / (1 + bigram))


def test_predictable_units_and_random_ones():
    rng = np.random.default_rng(0)
    cycle = plain(TokenMeasurement([(np.arange(300) + start) % 10 for start in range(10)], 10))
    assert cycle["bigram_perplexity"] < 1.02 < 9 < cycle["unigram_perplexity"] < 11
    # The next of a second-order sequence follows from two, hardly from one.
    rows = []
    for _ in range(20):
        row = rng.integers(0, 2, 2).tolist()
        for _ in range(200):
            row.append(2 + row[-2] % 2 if row[-1] < 2 else rng.integers(0, 2))
        rows.append(row)
    second = plain(TokenMeasurement(rows, 4))
    assert second["trigram_perplexity"] < second["bigram_perplexity"] - 0.1
    random = plain(TokenMeasurement([rng.integers(0, 8, 5000) for _ in range(5)], 8))
    assert random["unigram_perplexity"] == pytest.approx(8, abs=0.02)
    assert random["bigram_perplexity"] == pytest.approx(7, abs=0.1)  # never the one before: de-duplicated
    assert random["entropy"] == pytest.approx(3, abs=0.01) and random["codebook_use"] == 1


def test_perfect_units():
    rng = np.random.default_rng(1)
    units = [np.repeat((rng.integers(0, 4) + np.arange(20)) % 4, 5) for _ in range(6)]
    measurement = TokenMeasurement(units, 4, phones=[np.repeat(row, 2) for row in units])
    found, ranges = plain(measurement), intervals(measurement, samples=20)
    for key in BOUNDARY_KEYS:
        assert found[key] == pytest.approx(float(key != "over_segmentation"))
        assert ranges[key] == pytest.approx((found[key], found[key]))
    assert found["deduplicated_per_second"] == pytest.approx(10) and not measurement.reasons


def test_one_unit_only():
    measurement = TokenMeasurement([[3] * 10, [3] * 5], 8, phones=[list("AAAABBBBCC"), list("AAAB")])
    found = plain(measurement)
    assert found["entropy"] == found["bitrate"] == found["deduplicated_bitrate"] == found["boundary_recall"] == 0
    assert found["perplexity"] == 1 and found["codebook_use"] == 1 / 8 and found["over_segmentation"] == -1
    assert found["boundary_f1"] == 0 and np.isnan(found["boundary_precision"])
    assert found["r_value"] == pytest.approx(1 - math.sqrt(2) / 2)
    assert found["deduplicated_per_second"] == pytest.approx(2 / 0.3)
    assert measurement.reasons == {"boundary_precision": "the unit never changes"}


def test_what_is_undefined_says_why():
    measurement = TokenMeasurement([[0, 1, 1]], 2)
    found = plain(measurement)
    undefined = {key for key, value in found.items() if math.isnan(value)}
    assert undefined == set(measurement.reasons) == set(BOUNDARY_KEYS) | set(ORDERS)
    assert measurement.reasons["r_value"] == "there are no phone labels"
    assert "one utterance" in measurement.reasons["trigram_perplexity"]
    still = TokenMeasurement([[0, 1, 1]], 2, phones=[list("AAAAAA")])
    assert still.reasons["boundary_f1"] == "the phone never changes" and math.isnan(plain(still)["boundary_f1"])
    assert set(found) == set(measurement.keys)


def test_utterances_without_units_count_for_nothing():
    with_empty = plain(TokenMeasurement([[0, 1, 1], [], [1, 0]], 2, phones=[list("AABBBB"), list("A"), list("ABBB")]))
    without = plain(TokenMeasurement([[0, 1, 1], [1, 0]], 2, phones=[list("AABBBB"), list("ABBB")]))
    assert {key: with_empty[key] for key in set(without) - set(ORDERS)} == {
        key: without[key] for key in set(without) - set(ORDERS)
    }
    assert np.isnan(TokenMeasurement([[0, 1, 1], [], [1, 0]], 2).values(np.array([[0, 3.0, 0]]))["bitrate"]).all()


@pytest.mark.parametrize(
    "units, phones, error, message",
    [
        ([[0], [2]], None, EvaluationError, "utterance 'two' has the unit 2"),
        ([[0], [1]], [list("AA"), None], PhoneLabelError, "utterance 'two' has no phone labels"),
        ([[0], [1]], [list("AA")], EvaluationError, "1 rows of phone labels for 2 utterances"),
        ([], None, EvaluationError, "the split is empty"),
    ],
)
def test_what_cannot_be_measured_is_named(units, phones, error, message):
    with pytest.raises(error, match=message):
        TokenMeasurement(units, 2, phones=phones, utterances=["one", "two"])


def test_metrics_are_described():
    assert [metric.key for metric in METRICS] == list(TokenMeasurement.keys)
    assert set(plain(TokenMeasurement([[0, 1], [1, 0]], 2, phones=[list("AABB")] * 2))) == set(TokenMeasurement.keys)
