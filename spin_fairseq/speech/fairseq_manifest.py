"""Find and check the rows of fairseq's .tsv, millions at a time, by array operations on the bytes of the file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from spin_fairseq.errors import ManifestError

CHUNK_BYTES = 1 << 23  # parsed at a time, which bounds the temporary arrays
LONGEST_NUMBER = 18  # digits that always fit into int64
TAB, NEWLINE, RETURN, COLON = b"\t\n\r:"
ARCHIVE_SUFFIXES = (b".zip", b".tar")


def read_fairseq_manifest(source: Path) -> tuple[str, bytes, np.ndarray, np.ndarray]:
    """-> the root folder, the bytes of the file, (N,) offsets of the rows in them, (N,) samples.

    Raises ManifestError: the file is empty, or a row is malformed; it names the line.
    """
    text = source.read_bytes()
    if not text or text.isspace():
        raise ManifestError(f"{source}: is empty; its first line is the root folder, the others path<TAB>samples")
    # A byte-order mark, which some editors write
    begin = len(b"\xef\xbb\xbf") if text.startswith(b"\xef\xbb\xbf") else 0
    end_of_root = text.find(b"\n", begin)
    end_of_root = len(text) if end_of_root < 0 else end_of_root
    root = text[begin:end_of_root].rstrip(b"\r").decode("utf-8", "surrogateescape")
    if "\t" in root or "\0" in root:
        raise ManifestError(
            f"{source}, line 1: {_shortened(root)!r} is not a folder; the first line is the root folder"
        )
    end = len(text)
    while text[end - 1] in b"\r\n":  # blank lines at the end do no harm
        end -= 1

    position, row = end_of_root + 1, 0
    rows = text.count(b"\n", position, end) + 1 if position < end else 0
    starts, sizes = np.empty(rows, np.int64), np.empty(rows, np.int64)
    while position < end:
        chunk_end = text.rfind(b"\n", position, position + CHUNK_BYTES) + 1
        if chunk_end == 0:  # one line longer than a chunk
            chunk_end = text.find(b"\n", position) + 1 or end
        if position + CHUNK_BYTES >= end:
            chunk_end = end
        chunk_end = min(chunk_end, end)
        found = _parse(text, position, chunk_end, row + 2, source)
        starts[row : row + len(found[0])], sizes[row : row + len(found[0])] = found
        row += len(found[0])
        position = chunk_end
    return os.path.join(source.parent, root), text, starts, sizes


def _parse(text: bytes, begin: int, end: int, first_line: int, source: Path) -> tuple[np.ndarray, np.ndarray]:
    """Parse text[begin:end] -> offsets of the rows in the text, samples."""
    chars = np.frombuffer(text, np.uint8, count=end - begin, offset=begin)
    newlines = np.flatnonzero(chars == NEWLINE)
    if len(newlines) == 0 or newlines[-1] != len(chars) - 1:
        newlines = np.append(newlines, len(chars))
    starts = np.concatenate([[0], newlines[:-1] + 1])
    ends = newlines - (chars[np.maximum(newlines - 1, 0)] == RETURN)  # CRLF
    ends = np.maximum(ends, starts)

    tabs = np.flatnonzero(chars == TAB)
    first_tab = np.searchsorted(tabs, starts)
    tab_count = np.searchsorted(tabs, ends) - first_tab
    tabs = np.append(tabs, [len(chars)] * 3)
    path_ends = np.where(tab_count >= 1, tabs[first_tab], ends)
    number_ends = np.where(tab_count >= 2, tabs[first_tab + 1], ends)
    speaker_ends = np.where(tab_count >= 3, tabs[first_tab + 2], ends)

    sizes, is_number = _numbers(chars, np.minimum(path_ends + 1, number_ends), number_ends)
    good = (tab_count >= 1) & (tab_count <= 3) & (path_ends > starts) & is_number & (sizes > 0)
    good &= (tab_count < 2) | (speaker_ends > number_ends + 1)
    named = np.flatnonzero(good & (tab_count == 3))
    good[named] = (ends[named] > speaker_ends[named] + 1) & _lie_in_archives(chars, starts[named], path_ends[named])
    if text.find(b"\0", begin, end) >= 0:
        good &= np.add.reduceat(np.append(chars == 0, False), starts) == 0
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        content = bytes(chars[starts[row] : ends[row]]).decode("utf-8", "surrogateescape")
        raise ManifestError(
            f"{source}, line {first_line + row}: {_complaint(content)}: {_shortened(content)!r}; "
            "a row is path<TAB>samples, or path<TAB>samples<TAB>speaker"
        )
    return starts + begin, sizes


def _numbers(chars: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """chars[start:end] of each row -> its value (N,) int64, whether it is a number of at most LONGEST_NUMBER digits (N,) bool."""
    widths = ends - starts
    values = np.zeros(len(starts), np.int64)
    is_number = (widths > 0) & (widths <= LONGEST_NUMBER)
    for column in range(min(int(widths.max(initial=0)), LONGEST_NUMBER)):
        inside = column < widths
        digits = chars[np.where(inside, starts + column, 0)].astype(np.int64) - ord("0")
        is_number &= ~inside | ((digits >= 0) & (digits <= 9))
        values = np.where(inside, values * 10 + digits, values)
    return values, is_number


def _lie_in_archives(chars: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Whether the path chars[start:end] of each row has the form that `archives.slice_of` parses."""
    colons = np.concatenate([[-1, -1], np.flatnonzero(chars == COLON)])
    last = np.searchsorted(colons, ends) - 1
    first, second = colons[np.maximum(last - 1, 0)], colons[last]
    found = first - len(ARCHIVE_SUFFIXES[0]) >= starts
    for a, b in ((first, second), (second, ends)):
        found &= _numbers(chars, np.where(found, a + 1, 0), np.where(found, b, 0))[1]
    before = chars[np.where(found, first, 4)[:, None] + np.arange(-4, 0)] if len(starts) else np.zeros((0, 4), np.uint8)
    return found & np.any([(before == np.frombuffer(suffix, np.uint8)).all(1) for suffix in ARCHIVE_SUFFIXES], axis=0)


def _complaint(row: str) -> str:
    fields = row.split("\t")
    if not row.strip():
        return "the row is blank"
    if "\0" in row:
        return "the row has a NUL byte in it"
    if len(fields) < 2:
        return "the row has no tab"
    if not fields[0]:
        return "the path is empty"
    if len(fields) == 3 and not fields[2]:
        return "the speaker is empty"
    if len(fields) > 4:
        return f"the row has {len(fields)} columns"
    if not (fields[1].isascii() and fields[1].isdigit() and 0 < len(fields[1]) <= LONGEST_NUMBER and int(fields[1])):
        return f"{_shortened(fields[1])!r} is not a positive whole number of samples"
    if not (fields[2] and fields[3]):
        return "the speaker or the name is empty"
    return "the row has 4 columns, but its path is not archive.zip:offset:length"


def _shortened(text: str, longest: int = 120) -> str:
    return text if len(text) <= longest else text[:longest] + "..."
