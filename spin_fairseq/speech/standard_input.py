"""Audio that arrives through a pipe, and ends at Ctrl-C instead of in the middle of a computation."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import BinaryIO
from collections.abc import Iterator

PIPE_BYTES = 1 << 20  # 33 s of 16 bits at 16 kHz: a recorder need not wait while the model is loaded


class Stopped:
    """asked: whether Ctrl-C was pressed. reading: whether the program waits for audio, and may be interrupted."""

    asked = reading = False


class Readable:
    """A file with `read1`, which ends when Ctrl-C is pressed."""

    def __init__(self, file: BinaryIO, stopped: Stopped) -> None:
        self.file, self.stopped = file, stopped

    def read1(self, size: int) -> bytes:
        self.stopped.reading = True
        try:
            return b"" if self.stopped.asked else self.file.read1(size)
        except KeyboardInterrupt:
            if not self.stopped.asked:
                raise
            return b""
        finally:
            self.stopped.reading = False


@contextmanager
def stopped_between_pieces() -> Iterator[Stopped]:
    """Ctrl-C ends the audio instead of a computation, so that what has been heard is printed; the second one ends it all."""
    stopped = Stopped()

    def ask(number, frame):
        again, stopped.asked = stopped.asked, True
        if again or stopped.reading:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def widen(file: BinaryIO) -> None:
    """Let the pipe hold more, where the system can do that."""
    try:
        import fcntl

        fcntl.fcntl(file.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError, ValueError):
        pass  # no pipe, no Linux, or not allowed
