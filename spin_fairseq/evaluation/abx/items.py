"""What ABX compares: all triphones of phone labels, as in the item files of Libri-Light and the ZeroSpeech challenges.

An item is a phone together with the one before and the one after, none of them silence, and lasts from the onset of the
first to the offset of the third. Equal labels next to each other are one phone: labels cannot tell whether it is said twice.
"""

from collections.abc import Sequence

import numpy as np

from ...errors import PhoneLabelError
from ..clusters import LABEL_SECONDS
from ..metrics.inputs import checked_speakers, one_each, utterance_names

SILENCES = frozenset(("", "SIL", "SP", "SPN", "NSN", "PAU", "<EPS>", "H#"))  # no phones; in capitals


class Items:
    """Triphones of some utterances, as parallel arrays of N.

    Attributes:
        utterance: index into `utterances`, the names.
        onset, offset: in phone labels of 10 ms, the offset behind the last one.
        phone, previous, next: index into `phones`, the names of those that occur, sorted.
        speaker: index into `speakers`, the names of all speakers, sorted; also of those without an item.
    """

    def __init__(self, utterances: Sequence[str], phones: Sequence[str], speakers: Sequence[str], rows: np.ndarray):
        """rows: (N, 7) int64 in the order of the attributes above."""
        self.utterances, self.phones, self.speakers = utterances, phones, speakers
        self.utterance, self.onset, self.offset, self.phone, self.previous, self.next, self.speaker = rows.T

    def __len__(self):
        return len(self.phone)


def triphones(labels: np.ndarray, silent: np.ndarray) -> np.ndarray:
    """One utterance: (L,) integer labels -> (n, 5) int64: onset, offset, phone, previous and next phone.

    silent: (highest label + 1,) bool, which labels are no phones.
    """
    labels = np.asarray(labels, dtype=np.int64)
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    ends = np.append(starts[1:], len(labels))
    phones = labels[starts]
    spoken = ~silent[phones]
    middle = np.flatnonzero(spoken[:-2] & spoken[1:-1] & spoken[2:]) + 1
    return np.stack(
        [starts[middle - 1], ends[middle + 1], phones[middle], phones[middle - 1], phones[middle + 1]], axis=1
    )


def triphone_items(
    phones: Sequence[Sequence | None], speakers: Sequence[str], *, symbols: Sequence[str] | None = None,
    utterances: Sequence[str] | None = None,
) -> Items:  # fmt: skip
    """All triphones -> Items.

    phones: a sequence of labels every 10 ms an utterance, strings, or integers that number `symbols`; None for an
    utterance without labels, which then has no items. speakers: a name an utterance. utterances: their names, or None.
    Raises EvaluationError, PhoneLabelError.
    """
    utterances = utterance_names(utterances, len(speakers))
    speakers = checked_speakers(speakers, utterances)
    one_each("rows of phone labels", phones, utterances)
    if symbols is None:
        symbols = sorted({str(label) for row in phones if row is not None for label in row})
        number = {symbol: i for i, symbol in enumerate(symbols)}
        phones = [None if row is None else np.array([number[str(label)] for label in row], np.int64) for row in phones]
    silent = np.array([str(symbol).upper() in SILENCES for symbol in symbols], dtype=bool)
    names = sorted(set(speakers))
    rows = [np.zeros((0, 7), np.int64)]
    for index, (labels, speaker) in enumerate(zip(phones, speakers)):
        if labels is None:
            continue
        labels = np.asarray(labels)
        if labels.size and not 0 <= labels.min() <= labels.max() < len(symbols):
            raise PhoneLabelError(
                f"utterance {utterances[index]!r} has phone labels {labels.min()}..{labels.max()}: "
                f"there are {len(symbols)} symbols"
            )
        found = triphones(labels, silent)
        where, who = np.full(len(found), index), np.full(len(found), names.index(speaker))
        rows.append(np.column_stack([where, found, who]))
    rows = np.concatenate(rows)
    used, compact = np.unique(rows[:, 3:6], return_inverse=True)
    rows[:, 3:6] = compact.reshape(-1, 3)
    return Items(utterances, tuple(str(symbols[phone]) for phone in used), tuple(names), rows)


def frame_ranges(items: Items, frame_seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """First frame of each item and the one behind its last, (N,) int64 each.

    Frame k is centred at (k + 1/2) frame_seconds; an item has the frames whose centre lies in it, its borders included.
    """
    onset, offset = (2 * times * LABEL_SECONDS / frame_seconds for times in (items.onset, items.offset))
    # Times are whole numbers of 10 ms: what is off a border by less than that is rounding.
    first = np.ceil(np.round((onset - 1) / 2, 6)).astype(np.int64)
    return first, np.floor(np.round((offset - 1) / 2, 6)).astype(np.int64) + 1
