"""The pitch marks of a split in one file, `{split}.marks`, which data workers map into memory and share.

`spin-fairseq marks` writes it. All numbers are little-endian:

    header    magic, version of the format, version of the analysis, number of entries and of words, checksum of the index
    index     the keys, uint64 (N,), ascending: a hash of the path of the audio file below the manifest's root;
              the entries (N,), see ENTRY: where the marks are, and what they were measured on
    words     uint16, see `encode`: two bytes per mark

An entry is valid for a path, a number of samples, a size of the audio file in bytes, and the pitch range that was given.
Neither the order of the manifest nor its root matters, nor whether the files are in archives; a subset of the manifest
finds its entries too. One change goes unnoticed: a WAV file that was replaced by another of the same length.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from collections.abc import Callable, Iterable

import numpy as np
import torch

from ..errors import PitchMarkError
from ..files import whole_file
from ..perturbation.pitch_marks import ANALYSIS_VERSION, RESOLUTION, PitchMarks
from .archives import stored_bytes
from .manifest import Manifest

MAGIC = b"SPINMARK"
FORM = 1
HEADER = struct.Struct("<8sIIQQI28x")  # magic, FORM, version of the analysis, entries, words, checksum
KEY = np.dtype("<u8")
ENTRY = np.dtype(
    [
        ("start", "<u8"),  # the first of its words
        ("words", "<u4"),  # how many
        ("checksum", "<u4"),  # CRC-32 of the words
        ("samples", "<u8"),
        ("file_bytes", "<u8"),
        ("floor", "<f8"),  # Hz; floor and ceiling are 0 where the range was estimated for the utterance
        ("ceiling", "<f8"),
    ]
)
WORD = np.dtype("<u2")
JOINED, GAP = 0x8000, 0x7FFF  # the bits of a word
ESTIMATED = (0.0, 0.0)
SURVEYED = 100_000  # utterances: some seconds

FOUND = "found"
OTHER_ANALYSIS, UNKNOWN = "of another version of the analysis", "of unknown files"
OTHER_LENGTH, OTHER_FILE, OTHER_RANGE = "of another length", "of a changed file", "for another pitch range"


def encode(marks: PitchMarks) -> np.ndarray:
    """Marks of one utterance -> uint16 words.

    The low 15 bits are the distance to the previous mark (or the start) in 1/16 samples, the high bit is `joined`. The
    value 32767 is not a mark, but a part of a longer gap. Marks at infinity, the padding of a batch, are left out.
    """
    own = marks.times.numpy() != np.inf
    ticks, joined = marks.times.numpy()[own] * RESOLUTION, marks.joined.numpy()[own]
    gaps = np.diff(ticks, prepend=0.0)
    if not ((gaps >= 0) & (ticks == np.floor(ticks))).all():
        raise ValueError(f"pitch marks must ascend from 0 or later, in steps of 1/{RESOLUTION} sample")
    bridges, rest = np.divmod(gaps.astype(np.int64), GAP)
    places = np.cumsum(bridges + 1) - 1
    words = np.full(places[-1] + 1 if len(places) else 0, GAP, WORD)
    words[places] = rest + JOINED * joined
    return words


def decode(words: np.ndarray) -> PitchMarks:
    """The inverse of `encode`, exactly."""
    gaps = words & GAP
    ticks, own = np.cumsum(gaps, dtype=np.int64), gaps != GAP
    return PitchMarks(torch.from_numpy(ticks[own] / RESOLUTION), torch.from_numpy(words[own] >= JOINED))


class Subject(NamedTuple):
    """What an entry was measured on."""

    path: str  # of the audio, absolute
    key: int  # a 64-bit hash of the path below the manifest's root
    samples: int
    pitch_range: tuple[float, float] | None  # floor and ceiling in Hz; None: estimated for the utterance


def subject_of(manifest: Manifest, index: int, pitch_range: tuple[float, float] | None) -> Subject:
    """An utterance of a manifest."""
    digest = hashlib.blake2b(manifest.name(index).encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return Subject(manifest.path(index), int.from_bytes(digest, "little"), int(manifest.sizes[index]), pitch_range)


def entry_of(subject: Subject, words: np.ndarray, start: int) -> tuple:
    """The fields of ENTRY. Raises OSError: there is no such audio file."""
    file_bytes = stored_bytes(subject.path)
    return (start, len(words), _crc(words), subject.samples, file_bytes, *(subject.pitch_range or ESTIMATED))


def write_marks(path: str | Path, keys: np.ndarray, entries: np.ndarray, words: Iterable[np.ndarray]) -> None:
    """Write a file of marks, completely or not at all.

    keys: (N,) KEY and entries: (N,) ENTRY, in any order; words: arrays; `entries` point into their concatenation.
    """
    order = np.argsort(keys, kind="stable")
    keys, entries = np.ascontiguousarray(keys[order], KEY), np.ascontiguousarray(entries[order], ENTRY)
    facts = MAGIC, FORM, ANALYSIS_VERSION, len(keys), int(entries["words"].sum())
    with whole_file(path, PitchMarkError) as temporary, open(temporary, "wb") as file:
        file.write(HEADER.pack(*facts, _checksum(facts, keys, entries)))
        file.write(keys.data)
        file.write(entries.data)
        for piece in words:
            file.write(np.ascontiguousarray(piece, WORD).data)


def _checksum(facts: tuple, keys: np.ndarray, entries: np.ndarray) -> int:
    start = zlib.crc32(HEADER.pack(*facts, 0))
    return zlib.crc32(entries, zlib.crc32(keys, start))


class PitchMarkCache:
    """The marks of a split, read from the file on demand.

    Attributes:
        counts: results of the lookups in this process: FOUND, or why there were no marks.
        keys, entries, words: the content of the file, mapped into memory.
    """

    def __init__(self, path: str | Path):
        """Raises PitchMarkError: the file is missing, truncated, damaged, or not a file of marks."""
        self.path = Path(path)
        self.counts: Counter[str] = Counter()
        remedy = "make it anew with spin-fairseq marks, or leave task.pitch_marks out"
        try:
            if os.path.exists(self.path) and not os.path.isfile(self.path):
                raise OSError("not a file")  # opening a pipe would wait for whoever writes into it
            content = np.memmap(self.path, np.uint8, "r").view(np.ndarray)
        except FileNotFoundError:
            raise PitchMarkError(f"{self.path}: no such file; {remedy.replace('anew ', '')}") from None
        except (OSError, ValueError) as error:  # ValueError: of no bytes
            raise PitchMarkError(f"{self.path}: cannot be read ({error}); {remedy}") from error
        self._damaged = f"{self.path}: is cut off or damaged; delete it and {remedy}"
        if len(content) < HEADER.size or bytes(content[: len(MAGIC)]) != MAGIC:
            raise PitchMarkError(f"{self.path}: is not a file of pitch marks; {remedy}")
        *facts, checksum = HEADER.unpack(content[: HEADER.size])
        _, form, self.analysis_version, count, words = facts
        if form != FORM:
            raise PitchMarkError(f"{self.path}: has form {form} instead of {FORM}, of another release; {remedy}")
        entries_at = HEADER.size + count * KEY.itemsize
        words_at = entries_at + count * ENTRY.itemsize
        if words_at + words * WORD.itemsize != len(content):
            raise PitchMarkError(self._damaged)
        self.keys = content[HEADER.size : entries_at].view(KEY)
        self.entries = content[entries_at:words_at].view(ENTRY)
        self.words = content[words_at:].view(WORD)
        if _checksum(tuple(facts), self.keys, self.entries) != checksum:
            raise PitchMarkError(self._damaged)

    @classmethod
    def open(cls, folder: str | Path, split: str) -> PitchMarkCache:
        """`{split}.marks` of a folder. Raises PitchMarkError."""
        return cls(Path(folder) / f"{split}.marks")

    def __reduce__(self):
        return type(self), (self.path.absolute(),)  # pickling a memory map would copy the file

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"PitchMarkCache({str(self.path)!r}, {len(self)} utterances)"

    def lookup(self, manifest: Manifest, index: int, pitch_range: tuple[float, float] | None) -> PitchMarks | None:
        """The marks of an utterance, as `find_pitch_marks` finds them; None if the file has none for its present state.

        pitch_range: floor and ceiling in Hz for the analysis; None: estimated from the utterance.
        Raises PitchMarkError: the words are damaged.
        """
        status, words = self.words_of(subject_of(manifest, index, pitch_range))
        self.counts[status] += 1
        return None if words is None else decode(words)

    def words_of(self, subject: Subject) -> tuple[str, np.ndarray | None]:
        """-> a key of `counts`; (W,) uint16 words or None. Raises PitchMarkError: they are damaged."""
        status, row = self.find(subject)
        if status != FOUND:
            return status, None
        start, count, checksum, _, file_bytes, *_ = self.entries[row].item()
        if file_bytes != _file_bytes(subject.path):
            return OTHER_FILE, None
        words = self.words[start : start + count]
        if _crc(words) != checksum:
            raise PitchMarkError(self._damaged)
        return status, words

    def find(self, subject: Subject) -> tuple[str, int]:
        """-> a key of `counts`, the row of the entry or -1; does not look at the audio file."""
        if self.analysis_version != ANALYSIS_VERSION:
            return OTHER_ANALYSIS, -1
        key = np.uint64(subject.key)
        row = int(self.keys.searchsorted(key))
        if row == len(self.keys) or self.keys[row] != key:
            return UNKNOWN, -1
        *_, samples, _, floor, ceiling = self.entries[row].item()
        if samples != subject.samples:
            return OTHER_LENGTH, row
        if (floor, ceiling) != (subject.pitch_range or ESTIMATED):
            return OTHER_RANGE, row
        return FOUND, row

    def survey(self, manifest: Manifest, pitch_range_of: Callable[[str], tuple[float, float] | None]) -> Counter[str]:
        """The counts that looking up every utterance would give. Does not look at audio files, so it misses changed ones.

        In a large split only SURVEYED utterances, spread evenly, are looked up.
        pitch_range_of: speaker -> pitch range.
        """
        rows = np.linspace(0, len(manifest) - 1, min(len(manifest), SURVEYED)).astype(np.int64)
        subjects = (subject_of(manifest, i, pitch_range_of(manifest.speaker(i))) for i in rows)
        return Counter(self.find(subject)[0] for subject in subjects)

    def summary(self, counts: Counter[str] | None = None) -> str:
        """One line about `counts`, or about the result of `survey`."""
        counts = self.counts if counts is None else counts
        missing = {status: n for status, n in counts.items() if status != FOUND}
        line = f"{self.path}: pitch marks of {counts[FOUND]:,} of {sum(counts.values()):,} utterances"
        if not missing:
            return line
        reasons = ", ".join(f"{n:,} {status}" for status, n in sorted(missing.items()))
        return f"{line}; {sum(missing.values()):,} are measured on the fly ({reasons})"


def _crc(words: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(words))


def _file_bytes(path: str) -> int:
    try:
        return stored_bytes(path)
    except OSError:
        return -1
