import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.evaluation.metrics.boundaries import boundaries, boundary_metrics, count_matches
from tests.oracles.tokens_oracle import boundaries_oracle, matches_oracle

positions = st.sets(st.integers(0, 30), max_size=7).map(sorted)


@settings(deadline=None, max_examples=150)
@given(found=positions, reference=positions, tolerance=st.integers(0, 4))
def test_no_matching_has_more_pairs(found, reference, tolerance):
    assert count_matches(found, reference, tolerance) == matches_oracle(found, reference, tolerance)


def test_each_boundary_is_matched_once():
    assert count_matches([10], [9, 11]) == 1
    assert count_matches([8, 10], [10, 12]) == 2  # 10 with 10 alone would leave two unmatched
    assert count_matches([10], [12]) == 1 and count_matches([10], [13]) == 0


@settings(deadline=None, max_examples=50)
@given(labels=st.lists(st.sampled_from("ab"), max_size=12))
def test_boundaries_are_where_labels_change(labels):
    assert boundaries(np.array(labels)).tolist() == boundaries_oracle(labels)


@pytest.mark.parametrize(
    "matches, found, reference, f1, over, r_value",
    [
        # Counts that make the published rates of two systems on Buckeye (Kamper & van Niekerk 2021, their results page).
        (7577, 11408, 10000, 0.7079, 0.1408, 0.7244),
        (6813, 43090, 10000, 0.2566, 3.3090, -1.9447),
    ],
)
def test_published_metrics(matches, found, reference, f1, over, r_value):
    result = boundary_metrics(matches, found, reference)
    assert result["boundary_f1"] == pytest.approx(f1, abs=2e-4)
    assert result["over_segmentation"] == pytest.approx(over, abs=2e-4)
    assert result["r_value"] == pytest.approx(r_value, abs=2e-3)


def test_limits():
    perfect = boundary_metrics(5, 5, 5)
    assert perfect == {key: float(key != "over_segmentation") for key in perfect}
    none = boundary_metrics(0, 0, 5)
    assert math.isnan(none["boundary_precision"]) and none["boundary_recall"] == none["boundary_f1"] == 0
    assert none["r_value"] == pytest.approx(1 - math.sqrt(2) / 2)
    assert np.isnan(list(boundary_metrics(0, 3, 0).values())).all()
