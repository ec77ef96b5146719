"""Phone labels for validation: `{split}.tsv` with lines `utterance-id<TAB>comma-separated labels`, one label per 10 ms.

They come from a forced alignment and are used only for PNMI and purity; training never sees them. Stress digits are
dropped (AH0 -> AH), as in the reference.
"""

from __future__ import annotations

import os
import re
from array import array
from pathlib import Path

import numpy as np

from spin_fairseq.errors import PhoneLabelError

STRESS = re.compile(r"(?<=[A-Za-z])[012]$")
MOST_SYMBOLS = 1000  # far above any phone set; catches a file of words or of unique ids


class PhoneLabels:
    """Labels of one split, all in one array.

    Attributes:
        symbols: the phones, sorted; `symbols[id]` is the phone of an id.
        source: the file.
    """

    def __init__(self, source: Path, symbols: list[str], ids: np.ndarray, offsets: np.ndarray, rows: dict[str, int]):
        self.source = source
        self.symbols = symbols
        self._ids = ids  # (total frames,) int16
        self._offsets = offsets  # (N + 1,) int64
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, utterance_id: object) -> bool:
        return utterance_id in self._rows

    def __getitem__(self, utterance_id: str) -> np.ndarray:
        """(frames of 10 ms,) int16 ids into `symbols`. Raises PhoneLabelError: the utterance has no labels."""
        row = self._rows.get(utterance_id)
        if row is None:
            raise PhoneLabelError(
                f"{self.source}: no labels for utterance {utterance_id!r}; "
                "its id must be the audio file's name without folder and suffix"
            )
        return self._ids[self._offsets[row] : self._offsets[row + 1]]

    def utterance_ids(self) -> list[str]:
        return list(self._rows)


def load_phone_labels(folder: str | Path, split: str) -> PhoneLabels:
    """Read `{split}.tsv` of `folder`.

    Raises PhoneLabelError: the file is missing, empty or malformed; it names the file and line.
    """
    source = Path(folder) / f"{split}.tsv"
    if not os.path.isfile(source):
        raise PhoneLabelError(f"{source}: no such file; set task.phones to the folder with the split's phone labels")
    seen = _SymbolTable()
    ids, offsets, rows = array("h"), array("q", [0]), {}
    try:
        with open(source, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                line = line.rstrip("\r\n")
                if not line:
                    continue
                utterance_id, tab, labels = line.partition("\t")
                where = f"{source}, line {number}"
                if not tab or not utterance_id or not labels or "\t" in labels:
                    raise PhoneLabelError(
                        f"{where}: a row is utterance-id<TAB>label,label,...; this is {line[:80]!r} "
                        "(task.phones is the folder of the labels, not that of the manifests)"
                    )
                if utterance_id in rows:
                    raise PhoneLabelError(f"{where}: utterance {utterance_id!r} is there twice; remove one of the rows")
                try:
                    ids.extend(map(seen.__getitem__, labels.split(",")))
                except (ValueError, OverflowError) as error:
                    raise PhoneLabelError(f"{where}: {error}; a row is utterance-id<TAB>label,label,...") from error
                rows[utterance_id] = len(rows)
                offsets.append(len(ids))
    except (OSError, UnicodeError) as error:
        raise PhoneLabelError(f"{source}: cannot be read as UTF-8 text: {error}; save it so") from error
    if not rows:
        raise PhoneLabelError(f"{source}: is empty; its rows are utterance-id<TAB>label,label,...")

    symbols = sorted(set(seen.phones))
    sorted_id = {symbol: i for i, symbol in enumerate(symbols)}
    new_ids = np.array([sorted_id[symbol] for symbol in seen.phones], np.int16)
    return PhoneLabels(source, symbols, new_ids[np.frombuffer(ids, np.int16)], np.array(offsets, np.int64), rows)


class _SymbolTable(dict):
    """Label -> number, in order of appearance; labels that differ only in stress have different numbers but the same phone."""

    def __init__(self):
        super().__init__()
        self.phones: list[str] = []

    def __missing__(self, label: str) -> int:
        if not label or label != label.strip():
            raise ValueError(f"the label {label!r} is empty or has spaces around it")
        if len(self) == MOST_SYMBOLS:
            raise ValueError(f"more than {MOST_SYMBOLS} different labels, so these are not phones")
        self.phones.append(STRESS.sub("", label))
        self[label] = len(self)
        return self[label]
