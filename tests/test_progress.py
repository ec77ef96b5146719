"""The progress bar, on a stderr that is a terminal and on one that is none."""

import io
import sys

from spin_fairseq.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def stderr_of(monkeypatch):
    """In the test itself: pytest gives each of its phases another stderr."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    return sys.stderr


def test_it_shows_the_time_left(monkeypatch):
    terminal = stderr_of(monkeypatch)
    with ProgressBar(total=4, desc="units", mininterval=0) as bar:
        bar.update(2)
        shown = terminal.getvalue()
    assert "units:  50%" in shown and "2/4 [" in shown and "<" in shown.rsplit("[", 1)[1]


def test_it_is_silent_where_there_is_no_terminal(monkeypatch):
    """Guards against log files full of bars."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with ProgressBar(range(3), total=3, desc="units") as bar:
        assert list(bar) == [0, 1, 2]
    assert not sys.stderr.getvalue()


def test_it_can_be_hidden(monkeypatch):
    terminal = stderr_of(monkeypatch)
    ProgressBar.hide()
    try:
        assert list(ProgressBar(range(3))) == [0, 1, 2]
    finally:
        ProgressBar.hide(False)
    assert not terminal.getvalue()


def test_a_bar_within_a_bar_is_told_by_the_outer_one(monkeypatch):
    """Guards against two lines that overwrite each other."""
    terminal = stderr_of(monkeypatch)
    with ProgressBar(total=2, desc="models", mininterval=0) as outer:
        assert list(ProgressBar(iter("ab"), total=2, desc="features", mininterval=0)) == ["a", "b"]
        with ProgressBar(total=4, desc="k-means") as inner:
            inner.update(1)
        outer.update()
    shown = terminal.getvalue()
    assert "features 50%" in shown and "k-means 25%" in shown and "features:" not in shown
    assert shown.count("\n") == 1
    with ProgressBar(total=2, desc="next") as bar:  # the first is closed, so this one is shown
        bar.update()
    assert "next" in terminal.getvalue()


def test_the_total_may_come_with_the_work(monkeypatch):
    terminal = stderr_of(monkeypatch)
    with ProgressBar(desc="pack", mininterval=0) as bar:
        bar.update_of(5, 10)
    assert "pack:  50%" in terminal.getvalue()
