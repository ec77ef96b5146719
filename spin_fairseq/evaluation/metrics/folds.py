"""Which utterances are held out together."""

from collections.abc import Sequence

import numpy as np

from ...errors import ConfigError

FOLDS = 5


def held_out_folds(groups: Sequence, number: int = FOLDS, seed: int = 0) -> np.ndarray:
    """groups: (U,) the speaker of each utterance, or any one value -> (U,) in 0..number-1, the fold that holds it out.

    Each group's utterances are spread over the folds at random and as evenly as can be: a group with two or more is never
    held out as a whole. Every utterance is in exactly one fold.
    Raises ConfigError: fewer than two folds.
    """
    if number < 2:
        raise ConfigError(f"folds is {number}: with fewer than 2 nothing is left to learn from")
    groups = np.asarray(groups)
    rng = np.random.default_rng(seed)
    folds = np.empty(len(groups), np.int64)
    next_fold = 0
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        folds[members] = (next_fold + np.arange(len(members))) % number
        next_fold += len(members)
    return folds
