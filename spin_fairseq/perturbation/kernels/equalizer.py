"""Second-order sections, one after the other."""

import numpy as np

from .compiling import compiled, inlined

SEGMENTS = 64  # of a wave that are filtered side by side


@inlined
def _filter_segments(wave, sections, length, column, states, out, write):
    """states: (2 S, SEGMENTS), of each section in each segment, at the start and then at the end."""
    for t in range(length):
        for k in range(SEGMENTS):
            place = k * length + t
            column[k] = wave[place] if place < len(wave) else 0.0
        for c in range(len(sections)):
            b0, b1, b2, a1, a2 = sections[c, 0], sections[c, 1], sections[c, 2], sections[c, 4], sections[c, 5]
            first, second = states[2 * c], states[2 * c + 1]
            for k in range(SEGMENTS):
                x = column[k]
                y = b0 * x + first[k]
                first[k] = b1 * x - a1 * y + second[k]
                second[k] = b2 * x - a2 * y
                column[k] = y
        if write:
            for k in range(SEGMENTS):
                place = k * length + t
                if place < len(wave):
                    out[place] = column[k]


@inlined
def _multiply(a, b, out):
    """out = a b, (n, n) each; a section's states depend on those of the sections before it and its own alone."""
    out[:] = 0.0
    for i in range(len(a)):
        for k in range((i | 1) + 1):
            for j in range((k | 1) + 1):
                out[i, j] += a[i, k] * b[k, j]


@inlined
def _transition(sections, steps):
    """What `steps` samples of silence make of the sections' states: a matrix (2 S, 2 S)."""
    states = 2 * len(sections)
    power, result, other = np.zeros((states, states)), np.eye(states), np.empty((states, states))
    for j in range(states):
        x = 0.0
        for c in range(j // 2, len(sections)):
            y = sections[c, 0] * x + (1.0 if j == 2 * c else 0.0)
            power[2 * c, j] = sections[c, 1] * x - sections[c, 4] * y + (1.0 if j == 2 * c + 1 else 0.0)
            power[2 * c + 1, j] = sections[c, 2] * x - sections[c, 5] * y
            x = y
    while steps:  # by squaring
        if steps & 1:
            _multiply(power, result, other)
            result, other = other, result
        steps >>= 1
        _multiply(power, power, other)
        power, other = other, power
    return result


@compiled
def cascade(wave: np.ndarray, sections: np.ndarray, out: np.ndarray) -> None:
    """Second-order sections one after the other, in double precision. Twin: equalizer.filter_by_spectrum.

    wave: (n,) float32, no longer than `out`; sections: (S, 6), rows b0 b1 b2 1 a1 a2; transposed direct form II.
    """
    count = len(sections)
    first, second = np.zeros(count), np.zeros(count)
    for t in range(len(wave)):
        x = np.float64(wave[t])
        for k in range(count):
            y = sections[k, 0] * x + first[k]
            first[k] = sections[k, 1] * x - sections[k, 4] * y + second[k]
            second[k] = sections[k, 2] * x - sections[k, 5] * y
            x = y
        out[t] = x


@compiled
def cascade_side_by_side(wave: np.ndarray, sections: np.ndarray, out: np.ndarray) -> None:
    """As `cascade`, for a wave of many times SEGMENTS samples: the SEGMENTS parts of it are filtered side by side.

    Each section waits for what it gave for the sample before, and each sample for the section before; other segments do not.
    First they all start from silence. How a segment ends then depends on how it should have started by a linear map, the
    `_transition` over its length, so that all starts follow; then every segment is filtered from its own.
    """
    length, states = -(-len(wave) // SEGMENTS), 2 * len(sections)
    ends, starts = np.zeros((states, SEGMENTS)), np.zeros((states, SEGMENTS))
    column = np.empty(SEGMENTS)
    _filter_segments(wave, sections, length, column, ends, out, False)
    transition = _transition(sections, length)
    for k in range(SEGMENTS - 1):
        for i in range(states):
            total = ends[i, k]
            for j in range(states):
                total += transition[i, j] * starts[j, k]
            starts[i, k + 1] = total
    _filter_segments(wave, sections, length, column, starts, out, True)
