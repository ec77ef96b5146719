"""ABX by its definition: every triplet by itself, distances by plain dynamic programming, averages by nested loops."""

import math
from itertools import permutations


def triphones_oracle(labels, silences):
    """-> [(onset, offset, phone, previous, next)], times in labels."""
    runs = []
    for place, label in enumerate(labels):
        if runs and runs[-1][0] == label:
            runs[-1][2] = place + 1
        else:
            runs.append([label, place, place + 1])
    return [
        (before[1], after[2], phone[0], before[0], after[0])
        for before, phone, after in zip(runs, runs[1:], runs[2:])
        if not {before[0], phone[0], after[0]} & silences
    ]


def frames_oracle(onset, offset, frame_seconds, frames):
    """Frames whose centre lies between the times (in labels of 10 ms); None where one of them is not there."""
    inside = [k for k in range(frames + 1000) if onset / 100 - 1e-9 <= (k + 0.5) * frame_seconds <= offset / 100 + 1e-9]
    return inside if inside and inside[-1] < frames else None


def angle(x, y):
    norms = math.sqrt(sum(v * v for v in x)) * math.sqrt(sum(v * v for v in y))
    return math.acos(max(-1.0, min(1.0, sum(v * w for v, w in zip(x, y)) / norms))) / math.pi


def dtw(x, y, distance):
    """Cost of the best path over its length; of equal costs the diagonal step counts as best, then the one within y."""
    cost = {}
    for i in range(len(x)):
        for j in range(len(y)):
            before = [cost[p] for p in ((i - 1, j - 1), (i, j - 1), (i - 1, j)) if p in cost]
            cost[i, j] = distance(x[i], y[j]) + (min(before) if before else 0.0)
    i, j, length = len(x) - 1, len(y) - 1, 1
    while i or j:
        i, j = min((p for p in ((i - 1, j - 1), (i, j - 1), (i - 1, j)) if p in cost), key=lambda p: round(cost[p], 9))
        length += 1
    return cost[len(x) - 1, len(y) - 1] / length


def error_rate(triplets, distance):
    """[(a, b, x, whether the distance of x and a is that of a and x)] -> share where x is nearer to b.

    The two distances are other ones where several paths cost the same and are of other lengths.
    """
    wrong = 0.0
    for a, b, x, swapped in triplets:
        difference = dtw(*((a, x) if swapped else (x, a)), distance) - dtw(x, b, distance)
        wrong += 0.5 if abs(difference) < 1e-6 else float(difference > 0)
    return wrong / len(triplets)


def mean(pairs):
    """[(value, weight)] -> mean, None without weight."""
    total = sum(weight for _, weight in pairs)
    return sum(value * weight for value, weight in pairs) / total if total else None


def abx_oracle(items, kind, distance, weights=None, mirrored=False):
    """items: [(frames, phone, previous, next, speaker)]; weights: of speakers, None: 1 -> error rate, None without triplets.

    mirrored: where A and X are of one group, each pair is measured once, with the earlier item as the first.
    """

    def of(speaker):
        return 1 if weights is None else weights[speaker]

    if kind == "speaker":
        items = [(frames, speaker, context, phone) for frames, phone, *context, speaker in items]
    else:
        items = [(frames, phone, context, speaker) for frames, phone, *context, speaker in items]
    found = []
    for a, b in permutations(sorted({item[1] for item in items}), 2):
        of_groups = []
        for group in sorted({item[3] for item in items}):
            of_contexts = []
            for context in sorted({tuple(item[2]) for item in items}):
                here = [item for item in items if tuple(item[2]) == context]
                of_a = [item for item in here if item[1] == a and item[3] == group]
                of_b = [item for item in here if item[1] == b and item[3] == group]
                others = sorted({item[3] for item in here if item[1] == a} - {group}) if kind == "across" else [group]
                for other in others:
                    of_x = [item for item in here if item[1] == a and item[3] == other]
                    triplets = [
                        (p[0], q[0], r[0], mirrored and kind != "across" and i < k)
                        for i, p in enumerate(of_a) for q in of_b for k, r in enumerate(of_x) if p is not r
                    ]  # fmt: skip
                    if triplets:
                        of_contexts.append((error_rate(triplets, distance), of(other) if kind == "across" else 1))
            error = mean(of_contexts)
            if error is not None:
                of_groups.append((error, 1 if kind == "speaker" else of(group)))
        error = mean(of_groups)
        if error is not None:
            found.append((error, of(a) * of(b) if kind == "speaker" else 1))
    return mean(found)
