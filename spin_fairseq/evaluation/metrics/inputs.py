"""The inputs of the metrics: lists with one array per utterance, checked before anything is computed from them."""

from collections.abc import Sequence

import numpy as np

from ...errors import EvaluationError, PhoneLabelError


def utterance_names(utterances: Sequence[str] | None, rows: int) -> tuple[str, ...]:
    """The utterances' names as a tuple, their numbers where `utterances` is None. rows: how many there must be.

    Raises EvaluationError.
    """
    if rows == 0:
        raise EvaluationError("there is no utterance to evaluate: the split is empty")
    if utterances is None:
        return tuple(map(str, range(rows)))
    names = tuple(map(str, utterances))
    if len(names) != rows:
        raise EvaluationError(f"{rows} utterances have {len(names)} names; each needs one")
    if len(set(names)) != rows:
        double = next(name for index, name in enumerate(names) if name in names[:index])
        raise EvaluationError(f"utterance {double!r} is there twice; leave one out")
    return names


def one_each(what: str, rows: Sequence, names: Sequence[str]) -> None:
    """Raises EvaluationError where `rows` are not as many as utterances."""
    if len(rows) != len(names):
        raise EvaluationError(f"{len(rows)} {what} for {len(names)} utterances; each needs one")


def checked_units(units: Sequence, clusters: int, names: Sequence[str]) -> list[np.ndarray]:
    """units: a sequence of integers in 0..clusters-1 an utterance -> the same as int64 arrays. Raises EvaluationError."""
    one_each("rows of units", units, names)
    checked = []
    for name, row in zip(names, units):
        row = np.asarray(row)
        if not row.size:
            row = np.zeros(0, np.int64)
        if row.ndim != 1 or row.dtype.kind not in "iu":
            raise EvaluationError(f"utterance {name!r}: units are a row of whole numbers, not {row.dtype} {row.shape}")
        if row.size and not 0 <= row.min() <= row.max() < clusters:
            wrong = row[(row < 0) | (row >= clusters)][0]
            raise EvaluationError(
                f"utterance {name!r} has the unit {wrong}: with {clusters} clusters they are 0..{clusters - 1}"
            )
        checked.append(row.astype(np.int64, copy=False))
    if not any(map(len, checked)):
        raise EvaluationError("no utterance has a unit: every one is empty")
    return checked


def checked_features(features: Sequence, names: Sequence[str]) -> list[np.ndarray]:
    """features: (frames, width) floats an utterance -> the same as arrays. Raises EvaluationError."""
    one_each("arrays of features", features, names)
    checked = [np.asarray(array) for array in features]
    for name, array in zip(names, checked):
        if array.ndim != 2 or array.shape[1] != checked[0].shape[-1]:
            raise EvaluationError(
                f"utterance {name!r} has features of shape {array.shape}: they are (frames, width), and all of one width"
            )
        if not np.isfinite(array).all():
            frame = int(np.flatnonzero(~np.isfinite(array).all(1))[0])
            raise EvaluationError(
                f"utterance {name!r} has a feature that is NaN or infinite, first in frame {frame}; look at its audio, "
                "and whether the model ran in half precision"
            )
    if not any(map(len, checked)):
        raise EvaluationError("no utterance has a frame of features: every one is empty")
    return checked


def checked_speakers(speakers: Sequence, names: Sequence[str]) -> list[str]:
    """speakers: a name an utterance -> the same as strings. Raises EvaluationError."""
    one_each("speakers", speakers, names)
    for name, speaker in zip(names, speakers):
        if speaker is None or not str(speaker):
            raise EvaluationError(f"utterance {name!r} has no speaker; the manifest or its speaker table must name one")
    return [str(speaker) for speaker in speakers]


def check_labels(phones: Sequence[Sequence | None], names: Sequence[str]) -> None:
    """phones: a sequence of labels an utterance. Raises EvaluationError; PhoneLabelError for an utterance without labels."""
    one_each("rows of phone labels", phones, names)
    for name, row in zip(names, phones):
        if row is None or len(row) == 0:
            raise PhoneLabelError(
                f"utterance {name!r} has no phone labels; label it, or leave it out of the evaluation"
            )
