"""Silence one warning of libmpg123, which decodes MP3s inside libsndfile, and which no setting of either switches off."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from collections.abc import Iterator

WARNING = b"Warning: Xing stream size off by more than 1%"


@contextmanager
def without_xing_warnings() -> Iterator[None]:
    """libmpg123 warns twice at each opening of an MP3 whose header promises another length, without naming the file.

    Inside the block file descriptor 2 is a temporary file; all that other code wrote into it is passed on at the end.
    For the main thread of a process, since all its threads have that descriptor in common.
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
