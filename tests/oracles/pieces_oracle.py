"""Byte-pair encoding of units, merge by merge, and the piece of each frame."""


def without_repeats(units):
    """[5, 5, 7] -> [(5, 2), (7, 1)]: units, and how many frames each lasts."""
    runs = []
    for unit in units:
        if runs and runs[-1][0] == unit:
            runs[-1] = (unit, runs[-1][1] + 1)
        else:
            runs.append((unit, 1))
    return runs


def merged(words, pair):
    """Each word with every such pair of neighbours as one piece, from left to right."""
    result = []
    for word in words:
        new = []
        for piece in word:
            if new and (new[-1], piece) == pair:
                new[-1] = new[-1] + piece
            else:
                new.append(piece)
        result.append(new)
    return result


def learn(words, merges, fewest=2):
    """words: lists of units. -> for each merge the pairs (tuples of units) that were then the most frequent, and the one
    that was taken: the first of them by the words."""
    words = [[(unit,) for unit in word] for word in words]
    for _ in range(merges):
        counts = {}
        for word in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        most = max(counts.values(), default=0)
        if most < fewest:
            return
        best = {pair for pair, count in counts.items() if count == most}
        taken = yield best, most
        words = merged(words, taken)


def encode(units, merges):
    """The pieces of a list of units, as tuples of units: merges are done in the order in which they were learnt."""
    word = [[(unit,) for unit in units]]
    for pair in merges:
        word = merged(word, pair)
    return word[0]


def frames(units, merges):
    """The piece of each frame, as a tuple of units. units: with repeats."""
    runs = without_repeats(units)
    result, place = [], 0
    for piece in encode([unit for unit, _ in runs], merges):
        for _, duration in runs[place : place + len(piece)]:
            result += [piece] * duration
        place += len(piece)
    return result


def mean_cross_entropy(logits, targets, valid, ignore=-100):
    """logits: (2B, F, V), targets: (B, F') and valid: (2B, F), nested lists -> (mean, fraction right) over the frames that
    have a target."""
    import math

    losses, right = [], []
    for row, frames_of in enumerate(logits):
        of_row = targets[row % len(targets)]
        for frame, scores in enumerate(frames_of):
            target = of_row[frame] if frame < len(of_row) else ignore
            if not valid[row][frame] or target == ignore:
                continue
            total = math.log(sum(math.exp(score) for score in scores))
            losses.append(total - scores[target])
            right.append(max(range(len(scores)), key=lambda k: scores[k]) == target)
    return sum(losses) / len(losses), sum(right) / len(right)
