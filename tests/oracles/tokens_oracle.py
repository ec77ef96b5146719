"""Measures of units as tokens, by their definitions, one unit at a time."""

import math


def without_repeats(row):
    return [unit for index, unit in enumerate(row) if index == 0 or unit != row[index - 1]]


def entropy_oracle(units):
    """Bits."""
    shares = [units.count(unit) / len(units) for unit in set(units)]
    return -sum(share * math.log2(share) for share in shares)


def tokens_oracle(rows, clusters, frame_seconds):
    frames = [unit for row in rows for unit in row]
    tokens = [unit for row in rows for unit in without_repeats(row)]
    seconds = len(frames) * frame_seconds
    return {
        "units_per_second": len(frames) / seconds,
        "deduplicated_per_second": len(tokens) / seconds,
        "entropy": entropy_oracle(frames),
        "perplexity": 2 ** entropy_oracle(frames),
        "codebook_use": len(set(frames)) / clusters,
        "bitrate": len(frames) / seconds * entropy_oracle(frames),
        "deduplicated_bitrate": len(tokens) / seconds * entropy_oracle(tokens),
    }


def boundaries_oracle(labels):
    return [index for index in range(1, len(labels)) if labels[index] != labels[index - 1]]


def matches_oracle(found, reference, tolerance):
    """The most pairs, by trying for the first position every partner and none."""
    if not found or not reference:
        return 0
    best = matches_oracle(found[1:], reference, tolerance)
    for index, other in enumerate(reference):
        if abs(found[0] - other) <= tolerance:
            rest = reference[:index] + reference[index + 1 :]
            best = max(best, 1 + matches_oracle(found[1:], rest, tolerance))
    return best


class WittenBell:
    """Interpolated n-grams in dictionaries, by the recursion."""

    def __init__(self, rows, clusters, order):
        self.clusters, self.order = clusters, order
        self.followers = {}  # history -> the units that followed it, each time
        for row in rows:
            for history, unit in self.events(row):
                for begin in range(order):
                    self.followers.setdefault(history[begin:], []).append(unit)

    def events(self, row):
        padded = ["begin"] * (self.order - 1) + list(row)
        for index in range(len(row)):
            yield tuple(padded[index : index + self.order - 1]), row[index]

    def probability(self, unit, history):
        lower = self.probability(unit, history[1:]) if history else 1 / self.clusters
        followers = self.followers.get(history)
        if not followers:
            return lower
        types = len(set(followers))
        return (followers.count(unit) + types * lower) / (len(followers) + types)

    def bits(self, row):
        return -sum(math.log2(self.probability(unit, history)) for history, unit in self.events(row))
