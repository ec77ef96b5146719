"""Manifests: the utterances of a split, with their paths and lengths.

Two forms are read:

- fairseq's `{split}.tsv`: the first line is the root folder, every other line `relative/path.flac<TAB>samples`,
  and optionally the speaker in a third column. A relative root is relative to the manifest's own folder.
- the reference Spin's `{split}.json`: a list of `[path, samples]`, paths absolute or relative to the file's folder.

A path may be a position in an archive, `archive.zip:offset:length` (see `archives`). Such a row has a fourth column, or
element: the path of the file before it was packed, from which its utterance id, phone labels and pitch marks are found.

A split may have tens of millions of rows, so no Python object is kept per row: the rows stay one `bytes` object, with an
array of the offset of each. Forked data workers share both; a row is parsed each time that it is looked up.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from collections.abc import Iterable, Iterator

import numpy as np

from spin_fairseq.speech.archives import slice_of
from spin_fairseq.speech.fairseq_manifest import read_fairseq_manifest
from spin_fairseq.speech.reference_list import read_reference_list
from spin_fairseq.errors import ManifestError
from spin_fairseq.files import whole_file

BLOCK = 1 << 16  # rows that are processed together


class _Form(NamedTuple):
    """How the rows are stored in the text; no field is empty, so two separators in a row never hold one."""

    separator: bytes
    row_end: bytes


class _Repeated(NamedTuple):
    """Names that several files of a manifest have."""

    stems: frozenset[bytes]
    paths: frozenset[str]  # below the root, without suffix


TSV, LIST = _Form(b"\t", b"\n"), _Form(b"\0", b"\0\0")


class Manifest:
    """The utterances of one split, in the order of the file.

    Attributes:
        sizes: (N,) int64, samples.
        source: the manifest file.
        root: the folder that paths are relative to, absolute.
    """

    def __init__(
        self,
        source: Path,
        root: str,
        text: bytes | bytearray,
        starts: np.ndarray,
        sizes: np.ndarray,
        form: _Form = TSV,
        whole: Manifest | None = None,
    ):
        self.source = source
        self.sizes = sizes
        self.root = root
        self._text = text  # rows: path, samples, and optionally speaker and name
        self._starts = starts  # (N,) int64: byte offset of the row
        self._form = form
        self._whole = whole  # the manifest that this is a selection of; ids are those in the whole
        self._repeated: _Repeated | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    def __repr__(self) -> str:
        return f"Manifest({str(self.source)!r}, {len(self)} utterances)"

    def path(self, i: int) -> str:
        """Absolute path of the audio of utterance `i`."""
        return os.path.join(self.root, _text_of(self._fields(self._starts[i])[0]))

    def name(self, i: int) -> str:
        """The path below the root; for a file in an archive, its path before it was packed."""
        fields = self._fields(self._starts[i])
        if len(fields) > 3:
            return _text_of(fields[3])
        path, root = os.path.join(self.root, _text_of(fields[0])), os.path.join(self.root, "")
        return path[len(root) :] if path.startswith(root) else path

    def utterance_id(self, i: int) -> str:
        """The name of the file without folder and suffix. If several files share it: the path below the root without suffix;
        if several share that, with suffix."""
        stem = _utterance_id(self._fields(self._starts[i]))
        repeated = (self._whole or self).repeated_names()
        if stem not in repeated.stems:
            return _text_of(stem)
        name = self.name(i)
        path = without_suffix(name)
        return name if path in repeated.paths else path

    def repeated_names(self) -> _Repeated:
        """The names that several files have; reads all rows, once."""
        if self._repeated is None:
            self._repeated = self._find_repeated_names()
        return self._repeated

    def _find_repeated_names(self) -> _Repeated:
        hashes = np.empty(len(self), np.int64)  # eight bytes per row; the names themselves would take a hundred
        for begin in range(0, len(self), BLOCK):
            starts = self._starts[begin : begin + BLOCK].tolist()
            hashes[begin : begin + BLOCK] = [hash(_utterance_id(self._fields(start))) for start in starts]
        ordered = np.sort(hashes)
        suspects = np.flatnonzero(np.isin(hashes, ordered[1:][ordered[1:] == ordered[:-1]]))
        stems, paths = Counter(), Counter()
        for i in suspects:
            stems[_utterance_id(self._fields(self._starts[i]))] += 1
            paths[without_suffix(self.name(i))] += 1
        return _Repeated(*(frozenset(name for name, count in found.items() if count > 1) for found in (stems, paths)))

    def speaker(self, i: int) -> str:
        """The third column if the row has one, else the part of the utterance id before the first `-`."""
        return _text_of(_speaker(self._fields(self._starts[i])))

    def speakers(self) -> set[str]:
        """All speakers of the split."""
        found = set()
        for begin in range(0, len(self), BLOCK):
            found.update(map(_speaker, map(self._fields, self._starts[begin : begin + BLOCK].tolist())))
        return set(map(_text_of, found))

    def rows(self, indices: Iterable[int]) -> Iterator[tuple]:
        """Some of the rows, in the form that `write_manifest` takes together with the root."""
        for i in indices:
            path, _, *more = self._fields(self._starts[i])
            yield (_text_of(path), int(self.sizes[i]), *map(_text_of, more))

    def select(self, keep: np.ndarray) -> Manifest:
        """The rows selected by `keep`, a boolean mask (N,) or indices; the text is shared, not copied."""
        keep = np.asarray(keep)
        if keep.size == 0 and keep.dtype != bool:
            keep = keep.astype(np.int64)  # np.asarray([]) is float64
        whole = self._whole or self
        return Manifest(self.source, self.root, self._text, self._starts[keep], self.sizes[keep], self._form, whole)

    def _fields(self, start: int) -> list[bytes]:
        """The columns of the row that begins at this offset."""
        text, form = self._text, self._form
        end = text.find(form.row_end, start)
        row = text[start : end if end >= 0 else None]
        return (row.rstrip(b"\r") if form is TSV else bytes(row)).split(form.separator)


def _utterance_id(fields: list[bytes]) -> bytes:
    file = _file_name(fields)
    if len(fields) <= 3 and b":" in file and slice_of(_text_of(file)):
        return file  # nobody says what lies there
    return os.path.splitext(file)[0]


def without_suffix(path: str) -> str:
    """The path without its suffix; a position in an archive has none."""
    return path if ":" in path and slice_of(path) else os.path.splitext(path)[0]


def _speaker(fields: list[bytes]) -> bytes:
    if len(fields) > 2:
        return fields[2]
    first, dash, _ = _file_name(fields).partition(b"-")
    if dash and b"." not in first:  # the suffix is removed later, since looking for it costs more than the rest
        return first
    return _utterance_id(fields).split(b"-", 1)[0]


def _file_name(fields: list[bytes]) -> bytes:
    path = fields[3] if len(fields) > 3 else fields[0]
    return path[path.rfind(b"/") + 1 :]


def _text_of(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")


def manifest_at(path: str | Path) -> Manifest:
    """The manifest of a path such as data/train.tsv. Raises ManifestError."""
    return load_manifest(Path(path).parent, Path(path).stem)


def load_manifest(data: str | Path, split: str) -> Manifest:
    """Read `{split}.tsv` or, failing that, `{split}.json` in the folder `data`.

    Raises ManifestError: the folder or file is missing or empty, or a row is malformed; it names the file and line.
    """
    folder = Path(data)
    if not os.path.isdir(folder):
        raise ManifestError(
            f"{folder}: no such folder; task.data is the folder with {split}.tsv (spin-fairseq prepare makes one)"
        )
    for suffix, read in ((".tsv", _read_tsv), (".json", _read_json)):
        source = (folder / f"{split}{suffix}").absolute()
        if os.path.isfile(source):
            try:
                manifest = read(source)
            except OSError as error:
                raise ManifestError(f"{source}: cannot be read: {error.strerror or error}") from error
            if len(manifest) == 0:
                raise ManifestError(f"{source}: has no utterances; prepare it again or choose another split")
            return manifest
    found = sorted(file.stem for file in folder.iterdir() if file.suffix in (".tsv", ".json"))
    make_one = "there are no .tsv or .json files at all: make them with spin-fairseq prepare"
    there = f"the splits there are: {', '.join(found)}" if found else make_one
    raise ManifestError(f"{folder}: no {split}.tsv or {split}.json; {there}")


def write_manifest(path: str | Path, root: str | Path, rows: Iterable[tuple]) -> None:
    """Write fairseq's .tsv, completely or not at all.

    path: the .tsv file; replaced if it exists.
    root: the folder that the rows' paths are relative to; a relative root is relative to `path`'s folder.
    rows: `(relative path, samples)`, `(relative path, samples, speaker)`, or for a file in an archive `(position,
    samples, speaker, name)`.
    Raises ManifestError: a row cannot be written (a tab or line break in a name, samples not positive).
    """
    path = Path(path)
    try:
        with (
            whole_file(path, ManifestError) as temporary,
            open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
        ):
            file.write(_checked_field(os.fspath(root), path, 1, "the root folder") + "\n")
            for line, (place, samples, *more) in enumerate(rows, start=2):
                if samples < 1:
                    raise ManifestError(f"{path}, line {line}: {place!r} has {samples} samples; leave it out")
                fields = [_checked_field(os.fspath(place), path, line, "the path"), str(int(samples))]
                if len(more) > 1 and slice_of(place) is None:
                    raise ManifestError(f"{path}, line {line}: {place!r} is in no archive; it needs no name beside it")
                for text, what in zip(more, ("the speaker", "the name")):
                    fields.append(_checked_field(text, path, line, what))
                file.write("\t".join(fields) + "\n")
    except UnicodeEncodeError as error:
        raise ManifestError(f"{path}: a name cannot be written as UTF-8: {error.object!r}; rename it") from error


def _checked_field(text: str, path: Path, line: int, what: str) -> str:
    if not text or re.search(r"[\t\n\r\0]", text):
        raise ManifestError(
            f"{path}, line {line}: {what} {text!r} is empty or has a tab or line break in it; rename it"
        )
    return text


def _read_json(source: Path) -> Manifest:
    return Manifest(source, str(source.parent), *read_reference_list(source), LIST)


def _read_tsv(source: Path) -> Manifest:
    return Manifest(source, *read_fairseq_manifest(source))
