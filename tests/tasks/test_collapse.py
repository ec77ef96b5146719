import logging

import pytest
import torch

from spin_fairseq.tasks.collapse import CollapseWatch


def warnings_of(caplog, watch, perplexities, size=100):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        for value in perplexities:
            watch.note("code_ppl", torch.tensor(value), size)
    return caplog.messages


def test_low_for_the_whole_time_is_warned_of(caplog):
    (warning,) = warnings_of(caplog, CollapseWatch(0.1, 3), [9.0, 4.0, 8.0])
    assert "code_ppl stayed at or under 9.0 for 3 updates" in warning and "ln 100 = 4.61" in warning


@pytest.mark.parametrize("perplexities", [[9.0, 10.0, 8.0], [9.0, 9.0], [90.0] * 9])
def test_no_warning_otherwise(caplog, perplexities):
    assert warnings_of(caplog, CollapseWatch(0.1, 3), perplexities) == []


def test_a_collapse_that_lasts_is_warned_of_again(caplog):
    assert len(warnings_of(caplog, CollapseWatch(0.1, 3), [50.0] * 3 + [2.0] * 6)) == 2


def test_codebooks_are_watched_apart(caplog):
    watch = CollapseWatch(0.1, 2)
    with caplog.at_level(logging.WARNING):
        for first, second in ((90.0, 3.0), (91.0, 4.0)):
            watch.note("code_ppl", first, 100)
            watch.note("code_ppl_1", second, 50)
    (warning,) = caplog.messages
    assert "code_ppl_1 stayed at or under 4.0" in warning


def test_share_0_never_warns(caplog):
    assert warnings_of(caplog, CollapseWatch(0.0, 1), [1.0]) == []


def test_the_device_is_asked_once_in_so_many_updates():
    class Counted(torch.Tensor):
        looks = 0

        def __float__(self):
            Counted.looks += 1
            return super().__float__()

    watch = CollapseWatch(0.1, 5)
    for _ in range(20):
        watch.note("code_ppl", torch.tensor(50.0).as_subclass(Counted), 100)
    assert Counted.looks == 4
