"""How well the next unit is predicted from the ones before: smoothed n-grams, held out."""

from collections.abc import Sequence

import numpy as np


def held_out_bits(rows: Sequence[np.ndarray], clusters: int, folds: np.ndarray, order: int) -> np.ndarray:
    """Code length of every unit under n-grams that were counted without its utterance's fold.

    rows: an integer array an utterance, in 0..clusters-1; folds: (U,), which fold holds each out; order: 3 for trigrams.
    Returns (order, U) bits: row n - 1 is the sum over the utterance of -log2 p(unit | the n - 1 units before).

    Interpolated Witten-Bell smoothing (Witten & Bell 1991; Chen & Goodman 1999), down to the uniform
    distribution: p(u | h) = (c(hu) + t(h) p(u | h')) / (c(h) + t(h)), where t(h) is how many different units followed h and h'
    is h without its first unit. An utterance begins after marks that are no units; its end is not predicted.
    """
    lengths = np.array([len(row) for row in rows])
    units = np.concatenate(rows).astype(np.int64)
    fold_of = np.repeat(np.asarray(folds), lengths)
    utterance = np.repeat(np.arange(len(rows)), lengths)
    position = np.arange(len(units)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    probability = np.full(len(units), 1 / clusters)
    history = np.zeros(len(units), np.int64)  # numbers of the distinct h
    bits = np.empty((order, len(rows)))
    for n in range(1, order + 1):
        if n > 1:
            before = np.where(position >= n - 1, np.roll(units, n - 1), clusters)
            history = np.unique(history * (clusters + 1) + before, return_inverse=True)[1]
        grams, gram = np.unique(history * clusters + units, return_inverse=True)
        history_of = grams // clusters
        counts = np.bincount(gram)
        lower, probability = probability, np.empty(len(units))
        for fold in np.unique(fold_of):
            here = fold_of == fold
            learned = counts - np.bincount(gram[here], minlength=len(counts))
            occurrences = np.bincount(history_of, learned)[history[here]]
            followers = np.bincount(history_of, learned > 0)[history[here]]
            new = occurrences == 0
            smoothed = (learned[gram[here]] + followers * lower[here]) / np.where(new, 1, occurrences + followers)
            probability[here] = np.where(new, lower[here], smoothed)
        bits[n - 1] = np.bincount(utterance, -np.log2(probability), minlength=len(rows))
    return bits
