"""Acoustic pieces as targets of training: what `spin-fairseq pieces` wrote, read in place.

A folder has `pieces.json`, `tokenizer.json`, and of each split `.bin` (a number a frame), `.len` (frames of each utterance),
`.ids` and `.json`. Ten million utterances are 12 GB of `.bin`, which stays on the disk, and 160 MB of places in memory.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from ..errors import PiecesError
from ..modules.pieces_loss import IGNORE
from .manifest import Manifest

FORMAT, VERSION = "spin_fairseq acoustic pieces", 1
SAME_LENGTH = 2  # frames by which an utterance's pieces may differ from its audio
MOST_NAMED = 5  # utterances in an error
MAKE = "make it with spin-fairseq pieces"


def read_settings(folder: str | Path) -> dict:
    """What `pieces.json` says. Raises PiecesError: it is missing or something else."""
    path = Path(folder) / "pieces.json"
    try:
        settings = json.loads(path.read_text("utf-8"))
        good = (
            settings["format"] == FORMAT
            and settings["version"] == VERSION
            and settings["dtype"] in ("uint16", "uint32")
        )
    except FileNotFoundError:
        raise PiecesError(f"{path}: no such file; {MAKE}, and give task.pieces the folder") from None
    except (OSError, ValueError, KeyError, TypeError, UnicodeError):
        good = False
    if not good:
        raise PiecesError(f"{path}: is damaged, or of another release; {MAKE} anew")
    return settings


def number_of_classes(folder: str | Path) -> int:
    """How many pieces occur in the split that they were learnt on: what a model predicts. Raises PiecesError."""
    return len(_used(folder, read_settings(folder)))


def _used(folder: str | Path, settings: dict) -> list[int]:
    used = settings.get("used")
    if not used or not all(isinstance(piece, int) and 0 <= piece < settings["learnt"] for piece in used):
        raise PiecesError(f"{folder}: is not finished; give the command spin-fairseq pieces again, which goes on")
    return used


class AcousticPieces:
    """The pieces of one split.

    Attributes:
        classes: how many pieces there are to predict, numbered from 0.
        frame_samples: samples of 16 kHz from one frame to the next.
    """

    def __init__(self, folder: str | Path, split: str):
        """Raises PiecesError: the split has no pieces, or its files are damaged."""
        settings = read_settings(folder)
        used = _used(folder, settings)
        self.source = Path(folder) / f"{split}.bin"
        self.classes, self.frame_samples = len(used), int(settings["frame_samples"])
        self._ids = self.source.with_suffix(".ids")
        if not self.source.with_suffix(".json").is_file():
            raise PiecesError(f"{self.source}: there are no whole pieces of the split {split!r}; {MAKE}")
        try:
            lengths = np.loadtxt(self.source.with_suffix(".len"), dtype=np.int64, ndmin=1)
            self._starts = np.concatenate([[0], np.cumsum(lengths)])
            self._pieces = np.memmap(self.source, settings["dtype"], "r")
        except (OSError, ValueError) as error:
            raise PiecesError(f"{self.source}: cannot be read ({error}); {MAKE} anew") from error
        if len(self._pieces) != self._starts[-1]:
            raise PiecesError(
                f"{self.source}: has {len(self._pieces)} frames instead of {self._starts[-1]}; {MAKE} anew"
            )
        self._class_of = np.full(settings["learnt"], IGNORE, np.int64)
        self._class_of[used] = np.arange(len(used))

    @staticmethod
    def there(folder: str | Path, split: str) -> bool:
        """Whether a split has pieces."""
        return os.path.isfile(Path(folder) / f"{split}.json")

    def rows_of(self, manifest: Manifest) -> np.ndarray:
        """(N,) int64: where the utterances of a manifest are in here.

        Raises PiecesError: some are missing, or have another length; it names the first ones.
        """
        rows = self._rows_in_order(manifest)
        if rows is None:
            rows = self._rows_in_any_order(manifest)
        frames = self._starts[rows + 1] - self._starts[rows]
        wrong = np.flatnonzero(np.abs(frames - manifest.sizes // self.frame_samples) > SAME_LENGTH)
        if len(wrong):
            raise PiecesError(
                f"{self.source}: its pieces are of other audio, or of another frame rate: {len(wrong)} of the {len(manifest)} "
                f"utterances have another length, such as {_named(manifest, wrong)}; {MAKE} anew"
            )
        return rows

    def _names(self):
        with open(self._ids, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for line in file:
                yield line.rstrip("\n")

    def _rows_in_order(self, manifest) -> np.ndarray | None:
        """As `rows_of`, without a table of names, where the order is that of the manifest; else None."""
        rows, found = np.empty(len(manifest), np.int64), 0
        for row, name in enumerate(self._names()):
            if found < len(manifest) and name == manifest.utterance_id(found):
                rows[found] = row
                found += 1
        return rows if found == len(manifest) else None

    def _rows_in_any_order(self, manifest) -> np.ndarray:
        row_of = {name: row for row, name in enumerate(self._names())}
        rows = np.array([row_of.get(manifest.utterance_id(i), -1) for i in range(len(manifest))], np.int64)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise PiecesError(
                f"{self.source}: no pieces for {len(missing)} of the {len(manifest)} utterances of {manifest.source}, such as "
                f"{_named(manifest, missing)}; make pieces of all, or leave these utterances out of the manifest"
            )
        return rows

    def targets(self, row: int, first: int, frames: int) -> np.ndarray:
        """At most (frames,) int64 classes of a row of `rows_of`, from frame `first` on.

        IGNORE where the piece does not occur in the split that pieces were learnt on.
        """
        begin = self._starts[row] + first
        return self._class_of[self._pieces[begin : min(begin + frames, self._starts[row + 1])]]


def _named(manifest, indices) -> str:
    return ", ".join(manifest.utterance_id(int(i)) for i in indices[:MOST_NAMED])
