"""Read the utterance lists of the original Spin code, JSON `[[path, samples], ...]`, one row at a time.

`json.load` would hold tens of millions of rows as Python objects; here they become one text and two arrays.
"""

from __future__ import annotations

import json
import re
import reprlib
from array import array
from pathlib import Path
from collections.abc import Iterator

import numpy as np

from spin_fairseq.speech.archives import slice_of
from spin_fairseq.errors import ManifestError

CHUNK_CHARACTERS = 1 << 24  # read at a time
LONGEST_ROW = 1 << 20  # characters; a row that is still incomplete by then is malformed
MOST_SAMPLES = 10**18


def read_reference_list(source: Path) -> tuple[bytearray, np.ndarray, np.ndarray]:
    """-> the text of the rows, whose fields (path, samples and any others) are separated by a NUL byte and rows end in two;
    (N,) offset of each row in it; (N,) samples.

    Raises ManifestError: the file is not such a list, or a row is malformed; the message names file and row.
    """
    text, starts, sizes = bytearray(), array("q"), array("q")
    for number, row in enumerate(_rows(source), start=1):
        problem = _complaint(row)
        if problem:
            raise ManifestError(f"{source}, row {number}: {problem}: {reprlib.repr(row)}; a row is [path, samples]")
        try:
            content = "\0".join(map(str, row)).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise ManifestError(
                f"{source}, row {number}: the path or speaker is not Unicode text: {reprlib.repr(row)}; rename it"
            ) from error
        starts.append(len(text))
        sizes.append(row[1])
        text += content + b"\0\0"
    return text, np.array(starts, np.int64), np.array(sizes, np.int64)


def _complaint(row: object) -> str | None:
    if not isinstance(row, list) or len(row) not in (2, 3, 4):
        return "the row is not a list of path and samples"
    if not _is_name(row[0]):
        return "the path is not a name"
    if type(row[1]) is not int or not 0 < row[1] < MOST_SAMPLES:
        return "the samples are not a positive whole number"
    if not all(map(_is_name, row[2:])):
        return "the speaker is not a name"
    if len(row) == 4 and slice_of(row[0]) is None:
        return "the row has 4 elements, but its path is not archive.zip:offset:length"
    return None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _rows(source: Path) -> Iterator[object]:
    """The elements of the file's outermost list."""
    decode = json.JSONDecoder().raw_decode
    gap = re.compile(r"[ \t\r\n]*")
    number = 0

    def malformed(why: str) -> ManifestError:
        where = f", row {number}" if number else ""
        return ManifestError(f"{source}{where}: {why}; the file is a JSON list of [path, samples]")

    with open(source, encoding="utf-8", errors="surrogateescape") as file:
        buffer, position, at_end = "", 0, False

        def next_char() -> str:
            nonlocal buffer, position, at_end
            while True:
                position = gap.match(buffer, position).end()
                if position < len(buffer) or at_end:
                    return buffer[position : position + 1]
                buffer, position = file.read(CHUNK_CHARACTERS), 0
                at_end = not buffer

        if next_char() == "\ufeff":
            position += 1
        if next_char() == "":
            raise malformed("is empty")
        if next_char() != "[":
            raise malformed("it does not begin with a list")
        position += 1
        if next_char() == "]":
            return
        while True:
            number += 1
            next_char()
            while True:
                try:
                    row, end = decode(buffer, position)
                    if end < len(buffer) or at_end:  # a number may continue in what has not been read yet
                        break
                except (ValueError, RecursionError) as error:
                    if at_end or len(buffer) - position > LONGEST_ROW:
                        raise malformed(f"not valid JSON ({error})") from error
                more = file.read(CHUNK_CHARACTERS)
                at_end = not more
                buffer, position = buffer[position:] + more, 0
            position = end
            yield row
            separator = next_char()
            if separator == "]":
                break
            if separator != ",":
                raise malformed(
                    "the list ends early; the file may be cut off" if not separator else "a comma is missing"
                )
            position += 1
        position += 1
        number = 0
        if next_char():
            raise malformed("something follows the list")
