"""Pack the files of a manifest into a few uncompressed archives, and write the manifest that reads them in place.

The bytes of each file stay as they are. A row of the new manifest gives archive, offset and length, then samples, speaker
and the file's original path, so that phone labels, pitch ranges and cached marks still match. `speech.archives` reads them.

Archives are written one after another, each under a temporary name, and the manifest last. An existing archive is kept
if it holds the same files with the same sizes and dates, so an interrupted packing resumes.
"""

from __future__ import annotations

import calendar
import io
import os
import tarfile
import time
import zipfile
from pathlib import Path
from typing import BinaryIO, NamedTuple
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ..errors import AudioError, ManifestError
from ..files import whole_file
from ..speech.archives import members, read_slice, slice_of
from ..speech.manifest import Manifest, write_manifest
from ..speech.row_groups import row_groups

LARGEST = 4 * 10**9  # bytes
# Seconds since 1970, of the dates that a zip can hold
EARLIEST, LATEST = (
    calendar.timegm((1980, 1, 1, 0, 0, 0)),
    calendar.timegm((2107, 12, 31, 23, 59, 58)),
)
MOST_NAMED = 5  # files that an error lists


class _File(NamedTuple):
    """A file to be packed."""

    path: str
    name: str  # in the archive
    length: int
    date: int  # seconds since 1970; even, as in a zip


class PackedSplit(NamedTuple):
    """What was written."""

    manifest: Path
    utterances: int
    bytes: int
    archives: int
    kept: int  # archives that existed already

    def __str__(self) -> str:
        kept = f", {self.kept:,} of them kept" if self.kept else ""
        archives = f"{self.archives:,} archive{'' if self.archives == 1 else 's'}"
        return f"{self.manifest}: {self.utterances:,} utterances, {self.bytes / 1e9:.2f} GB in {archives}{kept}"


def pack(
    manifest: Manifest,
    out: str | Path,
    *,
    form: str = "zip",
    largest: int = LARGEST,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> PackedSplit:
    """Write `{split}-00000.zip` and so on, and `{split}.tsv`, into the folder `out`.

    form: "zip" or "tar".
    largest: most bytes of audio in an archive; a larger file gets an archive of its own.
    progress: called with the number of bytes packed since the last call, and the total.
    Raises ManifestError: the new manifest would replace `manifest` itself, or a name cannot be written.
    AudioError: files are missing, one changes meanwhile, or another file is in the way of an archive.
    OSError: the disk is full, for instance.
    """
    out, split = Path(out), manifest.source.stem
    target = out / f"{split}.tsv"
    if target.exists() and manifest.source.exists() and target.samefile(manifest.source):
        raise ManifestError(f"{target}: is the manifest itself; choose another folder for the packed one")
    out.mkdir(parents=True, exist_ok=True)
    lengths, dates = _lengths_and_dates(manifest)
    places, kept = [], 0
    total = int(lengths.sum())

    def tell(done: int) -> None:
        progress(done, total)

    for number, (begin, end) in enumerate(row_groups(lengths, largest)):
        archive = out / f"{split}-{number:05d}.{form}"
        files = [
            _File(manifest.path(i), _name_in_archive(manifest.name(i)), int(lengths[i]), int(dates[i]))
            for i in range(begin, end)
        ]
        if archive.exists():
            kept += 1
            tell(int(lengths[begin:end].sum()))
        else:
            _write(archive, files, tell)
        found = members(archive)
        if [(file.name, file.length, file.date) for file in files] != [(m.name, m.length, m.date) for m in found]:
            raise AudioError(
                f"{archive}: holds other files than {manifest.source} names, or they have changed since; "
                "remove it, or choose another folder"
            )
        places.append((archive.name, np.array([member.offset for member in found], np.int64)))

    def rows() -> Iterator[tuple]:
        i = 0
        for name, offsets in places:
            for offset in offsets.tolist():
                place = f"{name}:{offset}:{lengths[i]}"
                yield place, int(manifest.sizes[i]), manifest.speaker(i), manifest.name(i)
                i += 1

    write_manifest(target, out.resolve(), rows())
    return PackedSplit(target, len(manifest), int(lengths.sum()), len(places), kept)


def _lengths_and_dates(manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """-> (N,) bytes, (N,) seconds since 1970. Raises what cannot be packed before anything is written."""
    lengths, dates, missing = np.zeros(len(manifest), np.int64), np.zeros(len(manifest), np.int64), []
    for i in range(len(manifest)):
        path, part = manifest.path(i), slice_of(manifest.path(i))
        try:
            status = os.stat(part.archive if part else path)
        except OSError as error:
            missing.append(f"{path}: {error.strerror or error}")
            continue
        lengths[i] = part.length if part else status.st_size
        dates[i] = min(max(int(status.st_mtime) // 2 * 2, EARLIEST), LATEST)
        name, speaker = manifest.name(i), manifest.speaker(i)
        if not speaker or set("\t\r\n") & {*name, *speaker}:
            raise ManifestError(
                f"{path}: the speaker {speaker!r} is empty, or it or the name has a tab or line break in it; rename it, "
                "or name speakers in the manifest's third column (spin-fairseq prepare --speaker-from)"
            )
    if missing:
        listed = "\n  ".join(missing[:MOST_NAMED] + ["..."] * (len(missing) > MOST_NAMED))
        raise AudioError(
            f"{manifest.source}: {len(missing):,} of its {len(manifest):,} files cannot be packed; prepare the manifest "
            f"again, which leaves them out:\n  {listed}"
        )
    return lengths, dates


def _name_in_archive(name: str) -> str:
    """A name that cannot escape the folder when it is unpacked; bytes that are not UTF-8 are spelled out."""
    return os.path.normpath("/" + name).lstrip("/").encode("utf-8", "backslashreplace").decode()


def _write(archive: Path, files: list[_File], progress: Callable[[int], object]) -> None:
    """Write an archive, completely or not at all."""
    with whole_file(archive, AudioError, temporary=archive.with_name(f".{archive.name}.part")) as temporary:
        with open(temporary, "wb") as target:
            (_write_zip if archive.suffix == ".zip" else _write_tar)(target, _contents(files, progress))


def _write_zip(target: BinaryIO, contents: Iterable[tuple[_File, bytes]]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file, content in contents:
            archive.writestr(zipfile.ZipInfo(file.name, time.gmtime(file.date)[:6]), content)


def _write_tar(target: BinaryIO, contents: Iterable[tuple[_File, bytes]]) -> None:
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file, content in contents:
            info = tarfile.TarInfo(file.name)
            info.size, info.mtime = len(content), file.date
            archive.addfile(info, io.BytesIO(content))


def _contents(files: list[_File], progress: Callable[[int], object]) -> Iterator[tuple[_File, bytes]]:
    """Each file with its bytes. Raises AudioError."""
    for file in files:
        try:
            content = read_slice(slice_of(file.path)) if slice_of(file.path) else Path(file.path).read_bytes()
        except OSError as error:
            why = error.strerror or error
            raise AudioError(f"{file.path}: cannot be read ({why}); mend it, and run again") from error
        if len(content) != file.length:
            raise AudioError(f"{file.path}: has changed meanwhile; run again")
        yield file, content
        progress(len(content))
