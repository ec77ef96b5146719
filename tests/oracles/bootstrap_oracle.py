"""A weighted measurement the slow way: every utterance as often as its weight says, measured from the start."""

import numpy as np


def repeated(weights, *lists):
    """One row of whole-number weights and lists with an entry an utterance -> the lists with repeated entries."""
    indices = [i for i, times in enumerate(weights) for _ in range(int(times))]
    return [[entries[i] for i in indices] for entries in lists]


def draws(rng, rows, utterances):
    """(rows, utterances): how often each utterance came in `utterances` draws with replacement."""
    weights = np.zeros((rows, utterances))
    for row in weights:
        for _ in range(utterances):
            row[rng.integers(utterances)] += 1
    return weights
