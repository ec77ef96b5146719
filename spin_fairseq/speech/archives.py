"""Read files in place from uncompressed zip or tar archives: `archive.zip:offset:length`.

fairseq's speech_to_text writes paths in this form; offset and length are in bytes. It turns a million small files into a
few large ones, and a file into one read at a known position: nothing is unpacked, and no directory is searched.
`spin-fairseq pack` writes such archives.
"""

from __future__ import annotations

import calendar
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import AudioError

PATTERN = re.compile(r"(.*\.(?:zip|tar)):([0-9]{1,18}):([0-9]{1,18})", re.DOTALL)
MOST_OPEN = 128  # archives that a process keeps open; the usual limit is 1,024 files
# Bytes of a zip member's own header, and where in it the lengths of its name and of its extra field are.
MEMBER_HEADER, LENGTHS_AT = 30, 26
PACK_AGAIN = "pack the corpus again (spin-fairseq pack), or take the archive that belongs to the manifest"


class Slice(NamedTuple):
    """A file inside an archive: `length` bytes from `offset` on."""

    archive: str
    offset: int
    length: int


class Member(NamedTuple):
    """A file in an archive."""

    name: str
    offset: int  # bytes, of its content
    length: int
    date: int  # seconds since 1970


def slice_of(path: str | Path) -> Slice | None:
    """Parse `archive.zip:offset:length`; None for any other path, such as `a:1:2` or `a.flac:1:2`."""
    match = PATTERN.fullmatch(os.fspath(path))
    return match and Slice(match[1], int(match[2]), int(match[3]))


def read_slice(part: Slice) -> bytes:
    """The bytes of a file inside an archive; the archive stays open for further files.

    Threads and forked processes may read at the same time, since no file position is shared.

    Raises FileNotFoundError: there is no such archive.
    OSError: it cannot be read.
    AudioError: it ends before the file does.
    """
    archive = _opened(part.archive)
    pieces, position, end = [], part.offset, part.offset + part.length
    # Checked first, so that a wrong length does not allocate its size in memory
    if end <= os.fstat(archive.descriptor).st_size:
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


def members(archive: str | Path) -> list[Member]:
    """The files in a zip or tar archive, in order.

    Raises AudioError: it is not such an archive, is truncated, or a file in it is compressed or encrypted.
    """
    try:
        return list(_zip_members(archive) if Path(archive).suffix == ".zip" else _tar_members(archive))
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError) as error:
        raise AudioError(f"{archive}: is no whole {Path(archive).suffix[1:]} archive ({error}); remove it") from error


def _zip_members(path: str | Path) -> Iterator[Member]:
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise AudioError(
                    f"{path}: {info.filename!r} is compressed or encrypted, so it cannot be read in place; "
                    "make the archive with spin-fairseq pack"
                )
            file.seek(info.header_offset + LENGTHS_AT)
            # From the member's own header: that of the directory may differ
            more = sum(np.frombuffer(file.read(4), "<u2").tolist())
            offset = info.header_offset + MEMBER_HEADER + more
            yield Member(info.filename, offset, info.file_size, calendar.timegm(info.date_time))


def _tar_members(path: str | Path) -> Iterator[Member]:
    with tarfile.open(path, "r:") as archive:
        for info in archive:
            yield Member(info.name, info.offset_data, info.size, int(info.mtime))


def stored_bytes(path: str | Path) -> int:
    """Size in bytes of an audio file, in an archive or not. Raises OSError: there is no such file."""
    part = slice_of(path)
    if part is not None and os.path.exists(part.archive):
        return part.length
    return os.stat(path).st_size


class _Archive:
    """An open file, closed with its last reference, since a thread may still read what the cache has dropped."""

    def __init__(self, path: str):
        # Do not wait for the writer of a pipe
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)

    def __del__(self):
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


_opened = lru_cache(maxsize=MOST_OPEN)(_Archive)
