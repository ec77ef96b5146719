"""Where grains are taken from, and where they are laid down."""

import numpy as np
from numba import njit

from .compiling import in_order


@njit(inline="always", nogil=True)
def _noise(number, seed):
    x = np.int64(number + 1) * np.int64(0x9E3779B1) + np.int64(seed) * np.int64(0x85EBCA6B)
    x = ((x ^ (x >> 16)) * np.int64(0x45D9F3B)) & np.int64(0xFFFFFFFF)
    x = ((x ^ (x >> 15)) * np.int64(0x2C1B3C6D)) & np.int64(0xFFFFFFFF)
    return np.float64(x ^ (x >> 16)) / 2.0**31 - 1.0


@in_order
def plan(
    times: np.ndarray, joined: np.ndarray, length: int, sample_rate: float, formant_ratio: float, pitch_ratio: float,
    range_ratio: float, seed: int, limits: tuple[float, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Grains of one utterance. Twin: grains.plan, which tells where they lie.

    times: (M,) float64 samples; joined: (M,) bool; limits: the constants of `grains`, in the order in which they are taken
    apart here -> target int64, source float64, left and right float32, all (G,).
    """
    voiceless_step, jitter_limit, lowest, highest, smallest, on_the_mark, grid = limits
    pieces, end = len(times) + 1, np.float64(length)
    edges = np.zeros(pieces + 1)
    for k in range(pieces - 1):
        edges[k + 1] = min(times[k], end)
    edges[pieces] = end
    gap, voiced = np.diff(edges), np.zeros(pieces, np.bool_)
    for k in range(1, pieces):
        voiced[k] = joined[k - 1] and gap[k] > 0
    f0 = np.zeros(pieces)
    for k in range(pieces):
        if voiced[k]:
            before = gap[k - 1] if voiced[k - 1] else gap[k]
            behind = gap[k + 1] if k + 1 < pieces and voiced[k + 1] else gap[k]
            f0[k] = 4 * sample_rate / (before + 2 * gap[k] + behind)
    median, own = 1.0, np.flatnonzero(voiced)
    if len(own):
        order = own[np.argsort(f0[own])]
        half, passed = gap[order].sum() / 2, 0.0
        for k in order:
            passed += gap[k]
            median = f0[k]
            if passed >= half:
                break
    wanted, as_it_is = median * pitch_ratio, pitch_ratio == 1 and range_ratio == 1
    new_f0 = np.zeros(pieces)
    for k in own:
        new = max(wanted * (1 + (f0[k] / median - 1) * range_ratio), smallest * wanted)
        new_f0[k] = sample_rate / gap[k] if as_it_is else min(max(new, lowest), highest)
    overhang, counts = np.zeros(pieces + 1), np.zeros(pieces, np.int64)
    for k in range(1, pieces):
        if voiced[k - 1] and not voiced[k]:
            overhang[k] = min(sample_rate / 2 / new_f0[k - 1], gap[k] / 2)
    # Cycles since the beginning of the interval: at each piece's start and end, and how many are whole at its start
    first, last, whole = (
        np.zeros(pieces),
        np.zeros(pieces),
        np.zeros(pieces),
    )
    for k in range(pieces):
        if voiced[k]:
            first[k] = last[k - 1]
            last[k] = first[k] + gap[k] * new_f0[k] / sample_rate
            ends = k + 1 == pieces or not voiced[k + 1]
            room = overhang[k + 1] * new_f0[k] / sample_rate if ends else 0.0
            whole[k] = np.floor(first[k] + on_the_mark)
            counts[k] = int(np.floor(last[k] + room + on_the_mark) - whole[k])
        elif gap[k] > 0:
            counts[k] = max(1, int(np.round((gap[k] - overhang[k]) / (voiceless_step * sample_rate))))
    total = counts.sum() + 1
    target, source = np.zeros(total, np.int64), np.zeros(total)
    left, right = np.full(total, np.inf), np.full(total, np.inf)
    g = 0  # the first one lies on the very start
    for k in range(pieces):
        for rank in range(1, counts[k] + 1):
            g += 1
            mark = k + 1
            if voiced[k]:
                fraction = (whole[k] + rank - first[k]) / (last[k] - first[k])
                place = min(edges[k] + fraction * gap[k], end)
                if fraction < 0.5 - on_the_mark:
                    mark = k
                source[g] = edges[mark]
            else:
                jitter = jitter_limit * _noise(g - 1, seed) if rank < counts[k] else 0.0
                fraction = (rank + jitter) / counts[k]
                place = min(edges[k] + overhang[k] + fraction * (gap[k] - overhang[k]), end)
                source[g] = place
            target[g] = int(np.round(np.round(place * grid) / grid))
            if voiced[k] or rank == counts[k]:
                if mark > 0 and voiced[mark - 1]:
                    left[g] = np.ceil(gap[mark - 1] / formant_ratio)
                if mark < pieces and voiced[mark]:
                    right[g] = np.ceil(gap[mark] / formant_ratio)
            if not voiced[k] and rank == 1:
                left[g] = target[g] - np.round(edges[k])
    for k in range(total):
        left[k] = min(left[k], np.float64(target[k] - target[k - 1]) if k else 0.0)
        right[k] = min(right[k], np.float64(target[k + 1] - target[k]) if k + 1 < total else 0.0)
    return target, source, left.astype(np.float32), right.astype(np.float32)
