import logging

import pytest
import torch

from spin_fairseq.errors import AudioError
from spin_fairseq.tasks.skipped import STEPS_BETWEEN_LOOKS, SkippedUtterances


def test_each_is_named_once_and_counted_once_an_epoch(caplog):
    skipped = SkippedUtterances("train", total=100, largest_fraction=0.02)
    with caplog.at_level(logging.WARNING):
        assert skipped.add([]) == 0
        assert skipped.add([(4, "a.flac: is cut off")]) == 1
        assert skipped.add([(4, "a.flac: is cut off"), (9, "b.flac: is empty")]) == 1
        skipped.begin_epoch()
        assert skipped.add([(4, "a.flac: is cut off")]) == 1
    assert caplog.messages == ["skipped: a.flac: is cut off", "skipped: b.flac: is empty"]


def test_more_than_the_share_stops_with_the_list():
    skipped = SkippedUtterances("train", total=100, largest_fraction=0.02)
    skipped.count(skipped.add([(1, "a.flac: is cut off"), (2, "b.flac: is empty")]))
    with pytest.raises(
        AudioError, match="3 of the 100 utterances of split 'train' are bad.*max_bad_share=0.02"
    ) as error:
        skipped.count(skipped.add([(3, "c.flac: has NaN")]))
    for reason in ("a.flac: is cut off", "b.flac: is empty", "c.flac: has NaN"):
        assert reason in str(error.value)
    assert "other ranks" not in str(error.value)


def test_each_epoch_counts_anew():
    skipped = SkippedUtterances("train", total=100, largest_fraction=0.01)
    for index in range(3):
        skipped.count(skipped.add([(index, f"{index}.flac: no such file")]))
        skipped.begin_epoch()


def test_no_share_at_all():
    skipped = SkippedUtterances("dev", total=1000, largest_fraction=0.0)
    with pytest.raises(AudioError, match="1 of the 1000"):
        skipped.count(skipped.add([(0, "a.flac: is empty")]))


class Unread(torch.Tensor):
    """A sum on a device: reading it makes the host wait, and is counted."""

    looks = 0

    def __int__(self):
        Unread.looks += 1
        return int(self.item())


def test_ranks_stop_together_and_seldom_wait():
    """Two ranks share their counts; only one of them meets bad files."""
    ranks = [SkippedUtterances("train", total=100, largest_fraction=0.05) for _ in range(2)]
    Unread.looks = 0
    for step in range(STEPS_BETWEEN_LOOKS - 1):
        new = [ranks[0].add([(step, f"{step}.flac: is empty")]), ranks[1].add([])]
        for rank in ranks:
            rank.count(torch.tensor(float(sum(new))).as_subclass(Unread))
    assert Unread.looks == 0
    for rank, listed in zip(ranks, ("0.flac: is empty", "19 on other ranks")):
        with pytest.raises(AudioError, match="19 of the 100") as error:
            rank.count(torch.tensor(0.0).as_subclass(Unread))
        assert listed in str(error.value)
    for rank in ranks:  # what is left at the end of an epoch is looked at too
        with pytest.raises(AudioError, match="19 of the 100"):
            rank.begin_epoch()
