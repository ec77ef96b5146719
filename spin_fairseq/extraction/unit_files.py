"""Files of units that `spin-fairseq units` wrote, read row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from ..errors import PiecesError

ENOUGH_FRAMES = 1000  # without a repeated unit: no speech is like that at 20 ms a frame


def read_runs(path: str | Path, skip: int = 0) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(utterance id, units without repeats, how many frames each lasts), an utterance after the other.

    path: `.km` with the ids beside it in `.ids`, or `.jsonl`.
    skip: rows that are left out, and not looked at.
    Raises PiecesError: the file is missing or malformed, or its repeats have been left out; it names the row.
    """
    path = Path(path)
    if path.suffix not in (".km", ".jsonl"):
        raise PiecesError(f"{path}: is no .km or .jsonl, which spin-fairseq units writes; give one of them")
    try:
        yield from (_read_jsonl if path.suffix == ".jsonl" else _read_km)(path, skip)
    except (OSError, UnicodeError) as error:
        raise PiecesError(f"{path}: cannot be read ({error}); write it again with spin-fairseq units") from error


def _read_jsonl(path: Path, skip: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        for number, line in islice(enumerate(file, start=1), skip, None):
            try:
                row = json.loads(line)
                units, durations = np.array(row["units"]), np.array(row["durations"])
                name = row["id"]
                good = isinstance(name, str) and name and units.shape == durations.shape and (durations > 0).all()
            except (ValueError, KeyError, TypeError):
                good = False
            if not good or not _are_units(units):
                raise PiecesError(
                    f'{path}, line {number}: is not {{"id", "units", "durations"}} of whole numbers; write the file again with '
                    "spin-fairseq units"
                )
            yield name, units.astype(np.int64), durations.astype(np.int64)


def _read_km(path: Path, skip: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    ids = path.with_suffix(".ids")
    frames = repeats = 0
    with (
        open(path, encoding="ascii") as rows,
        open(ids, encoding="utf-8", errors="surrogateescape", newline="\n") as names,
    ):
        pairs = zip(rows, names, strict=True)
        try:
            for number, (row, name) in islice(enumerate(pairs, start=1), skip, None):
                try:
                    units = np.array(list(map(int, row.split())))
                except ValueError:
                    units = np.zeros(0)
                if not _are_units(units):
                    raise PiecesError(
                        f"{path}, line {number}: is not a row of units; write the file again with spin-fairseq units"
                    )
                starts = np.flatnonzero(np.diff(units, prepend=-1))
                frames, repeats = frames + len(units), repeats + len(units) - len(starts)
                if frames > ENOUGH_FRAMES and not repeats:
                    raise PiecesError(
                        f"{path}: no unit is repeated, so how long each lasts is not in it; write it without --deduplicate, "
                        "or as .jsonl"
                    )
                yield name.rstrip("\n"), units[starts], np.diff(starts, append=len(units))
        except ValueError as error:
            raise PiecesError(
                f"{path} and {ids.name}: have different numbers of rows; write them again with spin-fairseq units"
            ) from error


def _are_units(units: np.ndarray) -> bool:
    return units.ndim == 1 and len(units) > 0 and units.dtype.kind in "iu" and units.min() >= 0
