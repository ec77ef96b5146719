"""Files that lie uncompressed in a zip or tar archive, read in place: `archive.zip:offset:length`.

That is how fairseq's speech_to_text writes such paths; offset and length are in bytes. A million small files are then a
few large ones, and a file is one read at a known place: nothing is unpacked, and no directory is looked through.
`spin-fairseq pack` makes such archives.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ..errors import AudioError

PATTERN = re.compile(r"(.*\.(?:zip|tar)):([0-9]{1,18}):([0-9]{1,18})", re.DOTALL)
MOST_OPEN = 128  # archives that a process keeps open; the usual limit is 1024 files
PACK_AGAIN = "pack the corpus again (spin-fairseq pack), or take the archive that belongs to the manifest"


class Slice(NamedTuple):
    """A file inside an archive: `length` bytes from `offset` on."""

    archive: str
    offset: int
    length: int


def slice_of(path: str | Path) -> Slice | None:
    """What `archive.zip:offset:length` names; None for any other path, `a:1:2` or `a.flac:1:2` among them."""
    match = PATTERN.fullmatch(os.fspath(path))
    return match and Slice(match[1], int(match[2]), int(match[3]))


def read_slice(part: Slice) -> bytes:
    """The bytes of a file inside an archive, which stays open for the next one.

    Threads and forked processes may read at once: no position in the file is shared.

    Raises:
        FileNotFoundError: there is no such archive.
        OSError: it cannot be read.
        AudioError: it ends before the file does.
    """
    archive = _opened(part.archive)
    pieces, position, end = [], part.offset, part.offset + part.length
    if end <= os.fstat(archive.descriptor).st_size:  # looked up first: a wrong length must not cost its size in memory
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
    """Size in bytes of an audio file, be it in an archive or not. Raises OSError: it is not there."""
    part = slice_of(path)
    if part is not None and os.path.exists(part.archive):
        return part.length
    return os.stat(path).st_size


class _Archive:
    """An open file, which is closed with the last reference: a thread may still read what the cache has dropped."""

    def __init__(self, path: str):
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # nothing is waited for in a pipe

    def __del__(self):
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


_opened = lru_cache(maxsize=MOST_OPEN)(_Archive)
