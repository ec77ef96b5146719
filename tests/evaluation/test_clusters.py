import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import homogeneity_score

from spin_fairseq.errors import ConfigError
from spin_fairseq.evaluation import clusters
from spin_fairseq.evaluation.clusters import align, cluster_quality, joint_counts, label_indices, quality_of_counts
from tests.oracles.clusters_oracle import clusters_oracle


@settings(deadline=None, max_examples=80)
@given(frames=st.integers(1, 200), phones=st.integers(1, 12), units=st.integers(1, 15), seed=st.integers(0, 2**32 - 1))
def test_equals_the_formulas_and_scikit_learn(frames, phones, units, seed):
    rng = np.random.default_rng(seed)
    phone = rng.integers(0, phones, frames)
    unit = (phone + rng.integers(0, units, frames)) % units
    result = cluster_quality(phone, unit)
    assert result == pytest.approx(clusters_oracle(phone.tolist(), unit.tolist()), abs=1e-9)
    assert result["pnmi"] == pytest.approx(homogeneity_score(phone, unit), abs=1e-7)
    # One table of all classes, with rows and columns that never occur, as counted over batches.
    table = np.zeros((phones + 3, units + 2))
    np.add.at(table, (phone, unit), 1)
    assert quality_of_counts(table) == pytest.approx(result, abs=1e-9)


def test_by_hand():
    # Unit 7 is always A; unit 3 is half B, half A.
    result = cluster_quality(["A", "A", "A", "B"], [7, 7, 3, 3])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert result["phone_purity"] == 0.75 and result["cluster_purity"] == 0.75
    assert result["pnmi"] == pytest.approx((entropy - 0.5 * np.log(2)) / entropy)


def test_limits():
    assert cluster_quality([0, 1, 2], [5, 6, 7])["pnmi"] == pytest.approx(1.0)
    assert cluster_quality([0, 1, 0, 1], [4, 4, 4, 4])["pnmi"] == pytest.approx(0.0, abs=1e-12)
    assert cluster_quality([0, 0], [1, 2]) == {"pnmi": 1.0, "cluster_purity": 0.5, "phone_purity": 1.0}


def test_unequal_or_no_frames():
    with pytest.raises(ValueError, match="3 phone labels for 2 units: align them first"):
        cluster_quality([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="empty"):
        joint_counts([], [])


@pytest.mark.parametrize("labels, expected", [(5, [8, 8, 9, 9, 4]), (6, [8, 8, 9, 9, 4, 4]), (9, [8, 8, 9, 9, 4, 4])])
def test_align_repeats_units_and_cuts_the_longer(labels, expected):
    phones, units = align(np.arange(labels), [8, 9, 4], 0.02)
    assert units.tolist() == expected and phones.tolist() == list(range(len(expected)))


def test_align_at_other_frame_rates():
    assert align(np.arange(9), [1, 2], frame_seconds=0.04)[1].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert align(np.arange(2), [1, 2], frame_seconds=0.01)[1].tolist() == [1, 2]
    for seconds in (0.0, -0.02, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"frame_seconds is {seconds}"):
            align(np.arange(9), [1, 2], frame_seconds=seconds)


@given(hop=st.integers(1, 2000), frames=st.integers(0, 40), labels=st.integers(0, 60))
def test_a_label_has_the_unit_of_its_middle(hop, frames, labels):
    """Guards against units taken for 20 ms, whatever the encoder's strides are."""
    phones, units = align(np.arange(labels), np.arange(frames), frame_seconds=hop / 16000)
    middles = [160 * label + 80 for label in range(labels)]  # samples
    inside = [middle // hop for middle in middles if middle < frames * hop]
    assert units.tolist() == inside and phones.tolist() == list(range(len(inside)))


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    strings=st.booleans(),
    lists=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_labels_are_numbered_in_their_order(lengths, strings, lists, seed):
    rng = np.random.default_rng(seed)
    flat = rng.choice(["", "AA", "B", "ZZZ"], sum(lengths)) if strings else rng.integers(-3, 4, sum(lengths)) * 10
    rows = np.split(flat, np.cumsum(lengths)[:-1])
    indices, labels = label_indices([row.tolist() if lists else row for row in rows])
    assert labels.tolist() == sorted(set(flat.tolist()))
    assert [[labels[i] for i in index] for index in indices] == [row.tolist() for row in rows]


def test_integers_far_apart_are_labels_too():
    indices, labels = label_indices([[7, -(2**60), 7], [2**60]])
    assert labels.tolist() == [-(2**60), 7, 2**60] and [index.tolist() for index in indices] == [[1, 0, 1], [2]]
    assert clusters.MOST_INTEGERS < 2**60


def test_blocks_of_weights_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    rows = [[rng.integers(0, 4, 9) for _ in range(5)] for _ in range(2)]
    weights = rng.integers(0, 3, (11, 5)).astype(float)
    counts = clusters.UtteranceCounts(*rows, 4, 4)
    whole = counts.agreement(weights)
    monkeypatch.setattr(clusters, "CELLS_AT_ONCE", 40)
    for key, values in counts.agreement(weights).items():
        assert values.tolist() == whole[key].tolist()
