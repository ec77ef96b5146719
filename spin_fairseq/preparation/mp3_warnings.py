"""Silence a warning of libmpg123, the MP3 decoder inside libsndfile, which neither has a setting for."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from collections.abc import Iterator

WARNING = b"Warning: Xing stream size off by more than 1%"


@contextmanager
def without_xing_warnings() -> Iterator[None]:
    """Drop the warning that libmpg123 prints twice whenever an MP3 with a wrong length in its header is opened.

    It does not name the file. Inside the block, stderr (file descriptor 2) is a temporary file; whatever else is written
    to it is passed on at the end. Use it only where no other thread runs, since all threads share the descriptor.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # it is closed, so there is nothing to silence
        yield
        return
    try:
        with tempfile.TemporaryFile() as caught:
            os.dup2(caught.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(stderr, 2)
                caught.seek(0)
                others = [line for line in caught if not line.startswith(WARNING)]
                os.write(2, b"".join(others))
    finally:
        os.close(stderr)
