"""Read files in place from uncompressed zip or tar archives: `archive.zip:offset:length`.

fairseq's speech_to_text writes paths in this form; offset and length are in bytes. It turns a million small files into a
few large ones, and a file into one read at a known position: nothing is unpacked, and no directory is searched.
`spin-fairseq pack` writes such archives.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ..errors import AudioError

PATTERN = re.compile(r"(.*\.(?:zip|tar)):([0-9]{1,18}):([0-9]{1,18})", re.DOTALL)
MOST_OPEN = 128  # archives that a process keeps open; the usual limit is 1,024 files
PACK_AGAIN = "pack the corpus again (spin-fairseq pack), or take the archive that belongs to the manifest"


class Slice(NamedTuple):
    """A file inside an archive: `length` bytes from `offset` on."""

    archive: str
    offset: int
    length: int


def slice_of(path: str | Path) -> Slice | None:
    """Parse `archive.zip:offset:length`; None for any other path, such as `a:1:2` or `a.flac:1:2`."""
    match = PATTERN.fullmatch(os.fspath(path))
    return match and Slice(match[1], int(match[2]), int(match[3]))


def read_slice(part: Slice) -> bytes:
    """The bytes of a file inside an archive; the archive stays open for further files.

    Threads and forked processes may read at the same time, since no file position is shared.

    Raises:
        FileNotFoundError: there is no such archive.
        OSError: it cannot be read.
        AudioError: it ends before the file does.
    """
    archive = _opened(part.archive)
    pieces, position, end = [], part.offset, part.offset + part.length
    if (
        end <= os.fstat(archive.descriptor).st_size
    ):  # checked first, so that a wrong length does not allocate its size in memory
        while position < end:
            piece = os.pread(archive.descriptor, end - position, position)
            if not piece:
                break
            pieces.append(piece)
            position += len(piece)
    if position < end:
        size = os.fstat(archive.descriptor).st_size
        raise AudioError(
            f"{part.archive}:{part.offset}:{part.length}: the archive is cut off or another one: it has {size} bytes; "
            f"{PACK_AGAIN}"
        )
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def stored_bytes(path: str | Path) -> int:
    """Size in bytes of an audio file, in an archive or not. Raises OSError: there is no such file."""
    part = slice_of(path)
    if part is not None and os.path.exists(part.archive):
        return part.length
    return os.stat(path).st_size


class _Archive:
    """An open file, closed with its last reference, since a thread may still read what the cache has dropped."""

    def __init__(self, path: str):
        self.descriptor = os.open(
            path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        )  # do not wait for the writer of a pipe

    def __del__(self):
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


_opened = lru_cache(maxsize=MOST_OPEN)(_Archive)
