"""Unit edit distances by their definition, without NumPy."""

from functools import cache
from itertools import groupby


def deduplicated_oracle(units):
    return [unit for unit, _ in groupby(units)]


def levenshtein_oracle(one, other):
    """By the recursion over first elements."""

    @cache
    def distance(i, j):
        if i == len(one) or j == len(other):
            return len(one) - i + len(other) - j
        if one[i] == other[j]:
            return distance(i + 1, j + 1)
        return 1 + min(distance(i + 1, j), distance(i, j + 1), distance(i + 1, j + 1))

    return distance(0, 0)


def unit_edit_distance_oracle(units, distorted):
    """-> UED (mean over utterances, by frames) and unit error rate (sum by de-duplicated units)."""
    pairs = [(deduplicated_oracle(a), deduplicated_oracle(b)) for a, b in zip(units, distorted)]
    distances = [levenshtein_oracle(*pair) for pair in pairs]
    ued = sum(distance / len(row) for distance, row in zip(distances, units)) / len(units)
    return ued, sum(distances) / sum(len(one) for one, _ in pairs)
