"""Where units change beside where phones change: boundaries matched one to one within a tolerance."""

import numpy as np

TOLERANCE = 2  # labels of 10 ms


def boundaries(labels: np.ndarray) -> np.ndarray:
    """(L,) labels -> positions of each label that differs from the one before it; the utterance's ends are none."""
    labels = np.asarray(labels)
    return np.flatnonzero(labels[1:] != labels[:-1]) + 1


def count_matches(found: np.ndarray, reference: np.ndarray, tolerance: int = TOLERANCE) -> int:
    """How many pairs at most can be made of two ascending rows of positions, no more than `tolerance` apart.

    Each position is in one pair at most. From left to right, the earliest two that are near enough are paired: waiting
    for a later partner never makes more pairs.
    """
    found, reference = np.asarray(found).tolist(), np.asarray(reference).tolist()
    matches = i = j = 0
    while i < len(found) and j < len(reference):
        distance = found[i] - reference[j]
        if abs(distance) <= tolerance:
            matches, i, j = matches + 1, i + 1, j + 1
        elif distance < 0:
            i += 1
        else:
            j += 1
    return matches


def boundary_metrics(matches: np.ndarray, found: np.ndarray, reference: np.ndarray) -> dict[str, np.ndarray]:
    """Counts, (B,) each -> {"boundary_precision", "_recall", "_f1", "over_segmentation", "r_value"}, fractions in 0..1.

    R-value: Räsänen, Laine & Altosaar, Interspeech 2009, with fractions where they have percent. 1 is perfect; it
    punishes the surplus of boundaries by which recall is bought. NaN where there is no boundary to compare with.
    """
    matches, found, reference = (np.asarray(counts, np.float64) for counts in (matches, found, reference))
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(found > 0, matches / found, np.nan)
        recall, over = matches / reference, found / reference - 1
        f1 = 2 * matches / (found + reference)
    distance = np.hypot(1 - recall, over)  # from the perfect point
    diagonal = (recall - over - 1) / np.sqrt(2)  # from the line on which every further boundary is a match
    result = {
        "boundary_precision": precision,
        "boundary_recall": recall,
        "boundary_f1": f1,
        "over_segmentation": over,
        "r_value": 1 - (distance + np.abs(diagonal)) / 2,
    }
    return {key: np.where(reference > 0, value, np.nan) for key, value in result.items()}
