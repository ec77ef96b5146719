import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.errors import EvaluationError, PhoneLabelError
from spin_fairseq.evaluation.abx.items import frame_ranges, triphone_items
from tests.oracles.abx_oracle import frames_oracle, triphones_oracle

PHONES = ["AA", "B", "SIL", "SPN", "T"]


def as_names(items):
    return [
        (items.utterances[u], on, off, *(items.phones[p] for p in phones), items.speakers[s])
        for u, on, off, *phones, s in zip(
            items.utterance, items.onset, items.offset, items.phone, items.previous, items.next, items.speaker
        )
    ]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4), named=st.booleans()
)
def test_triphones_are_those_of_plain_loops(seed, lengths, named):
    rng = np.random.default_rng(seed)
    labels = [np.repeat(rng.integers(0, 5, n), rng.integers(1, 4, n)) for n in lengths]
    phones = [[PHONES[label] for label in row] for row in labels] if named else labels
    speakers = [f"s{n % 2}" for n in range(len(labels))]
    items = triphone_items(phones, speakers, symbols=None if named else PHONES)
    expected = [
        (str(u), *row, speakers[u])
        for u, labelled in enumerate(labels)
        for row in triphones_oracle([PHONES[label] for label in labelled], {"SIL", "SPN"})
    ]
    assert as_names(items) == expected


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), frame_seconds=st.sampled_from([0.01, 0.02, 0.03, 0.04]))
def test_frames_are_those_whose_centre_is_inside(seed, frame_seconds):
    rng = np.random.default_rng(seed)
    items = triphone_items([np.repeat(rng.integers(0, 5, 30), rng.integers(1, 9, 30))], ["s"], symbols=PHONES)
    for onset, offset, first, behind in zip(items.onset, items.offset, *frame_ranges(items, frame_seconds)):
        assert list(range(first, behind)) == (frames_oracle(onset, offset, frame_seconds, 1000) or [])


def test_utterances_without_labels_have_no_items():
    items = triphone_items([None, ["AA", "B", "T"], []], ["x", "y", "z"], utterances=["u", "v", "w"])
    assert as_names(items) == [("v", 0, 3, "B", "AA", "T", "y")]
    assert items.speakers == ("x", "y", "z")
    assert len(triphone_items([None], ["x"])) == 0


def test_what_does_not_fit_is_named():
    with pytest.raises(EvaluationError, match="1 rows of phone labels for 2 utterances"):
        triphone_items([["AA"]], ["x", "y"])
    with pytest.raises(PhoneLabelError, match="utterance 'u' has phone labels 0..7: there are 5 symbols"):
        triphone_items([[0, 7]], ["x"], symbols=PHONES, utterances=["u"])
