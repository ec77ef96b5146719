"""What every bad input must end in: soon, in an error that a user can act on, with nothing left behind."""

import os
import re
import signal
from collections import Counter
from contextlib import contextmanager

import pytest

from spin_fairseq.errors import SpinError

SECONDS = 5.0  # of CPU time for a case; the slowest takes a fraction
LONGEST_WAIT = 60.0  # seconds on the clock: of a case that hangs without computing
LONGEST_MESSAGE = 3000  # characters: a message does not repeat what was read
# How an error says what to do: by an instruction, by what the thing must be instead, or by the system's own words.
INSTRUCTIONS = (
    "add align call check choose convert copy delete evaluate export fetch give install instead known leave lower make mend "
    "must name need needs pack prepare raise remove rename replace save set start take turn unpack use write"
).split() + [
    "a row is",
    "first line is",
    "is a JSON list",
    "its rows are",
    "one of",
    "splits there",
    "train one",
    "what can be read",
]
REMEDY = re.compile(rf"\b({'|'.join(INSTRUCTIONS)})\b|\[Errno \d+\] ", re.IGNORECASE)

refused = Counter()  # kind -> cases that ended so; what `conftest.py` reports


class TooSlow(BaseException):
    """Not an Exception, so that nobody takes it for one of the input's."""


@contextmanager
def limited(seconds=SECONDS, longest_wait=LONGEST_WAIT):
    """Raise TooSlow in the block when its time is up: CPU time, since other work on the machine is no fault of it."""

    def ring(*_):
        raise TooSlow(f"not done after {seconds} s of CPU time, or {longest_wait} s in all")

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, longest_wait)}
    before = {number: signal.signal(number, ring) for number in timers}
    for timer, time in timers.values():
        signal.setitimer(timer, time)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def files_below(folder):
    """{path: size and time of its last change}, hidden and temporary files too."""
    found = {}
    for parent, folders, names in os.walk(folder):
        for name in folders + names:
            status = os.lstat(os.path.join(parent, name))
            found[os.path.join(parent, name)] = status.st_mode, status.st_size, status.st_mtime_ns
    return found


def judge(message, names=()):
    """A message is one of a user's: it names the file, row or key, and the remedy."""
    for name in names:
        assert str(name) in message, f"{name!r} is not named: {message}"
    assert REMEDY.search(message), f"no remedy: {message}"
    assert len(message) < LONGEST_MESSAGE + sum(len(str(name)) for name in names), f"endless: {message[:500]}..."
    assert "Traceback" not in message


def must_refuse(kind, call, error, *names, folder=None, files_may_change=False):
    """`call()` must raise `error`, whose message names all of `names`, and leave `folder` as it was."""
    assert issubclass(error, SpinError)
    before = files_below(folder) if folder else None
    with limited(), pytest.raises(error) as raised:
        call()
    judge(str(raised.value), names)
    if folder and not files_may_change:
        assert files_below(folder) == before
    refused[kind] += 1


def may_refuse(kind, call, error, *names):
    """For what is made at random: refused as above, or taken. -> what `call()` returned, None if it was refused."""
    try:
        with limited():
            return call()
    except error as raised:
        judge(str(raised), names)
        refused[kind] += 1
        return None
