"""The inner loops for the CPU, compiled by numba. Each has a twin in torch, which other devices use, and a test against it.

numba compiles a function when it is first called, which takes seconds, and keeps the result on disk.
"""

import numpy as np
from numba import njit


# Sums may be taken in any order, so that they are vectorised; NaN and infinity keep their meaning.
OPTIONS = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


def _compiled(function):
    try:
        return njit(function, cache=True, **OPTIONS)
    except RuntimeError:  # no folder to keep the result in
        return njit(function, **OPTIONS)


def _inlined(function):
    """A part of what calls it. As a function of its own it is optimised otherwise in the process that compiles it than
    in those that find it on disk, and a training would not be repeatable to the last bit."""
    return njit(function, inline="always", **OPTIONS)


@_compiled
def track(r, intensity, lag_rate, floor, ceiling, count, voicing, silence, octave_cost, jump_cost, change_cost):
    """Peaks of r and the best path through them. Twin: pitch.candidates and pitch.best_path.

    r: (F, lags) float32; intensity: (F,); count: voiced candidates of a frame -> f0 (F,) float32 Hz, 0 where voiceless.
    """
    frames, lags = r.shape
    frequency = np.zeros((frames, count + 1), np.float32)
    octave = np.zeros((frames, count + 1), np.float32)
    local = np.empty((frames, count + 1), np.float32)
    states = np.ones(frames, np.int64)  # of a frame; the first is "voiceless"
    rank = np.empty(count + 1, np.float32)
    first, last = max(2, int(lag_rate / ceiling)), min(lags - 2, int(lag_rate / floor) + 1)
    for i in range(frames):
        local[i, 0] = voicing + max(0.0, 2.0 - intensity[i] * (1.0 + voicing) / silence)
        row = r[i]
        for k in range(first, last + 1):
            middle = row[k]
            if middle <= 0.5 * voicing or not (middle > row[k - 1] and middle >= row[k + 1]):
                continue
            curvature = max(2 * middle - row[k - 1] - row[k + 1], 1e-12)
            slope = (row[k + 1] - row[k - 1]) / 2
            f = lag_rate / (k + min(max(slope / curvature, -1.0), 1.0))
            if f < floor or f >= ceiling:
                continue
            strength = middle + slope * slope / (2 * curvature)
            if strength > 1:
                strength = 1 / strength
            octaves = np.log2(f)
            worth = strength + octave_cost * octaves
            if states[i] <= count:
                place = states[i]
                states[i] += 1
            else:
                place = 1 + np.argmin(rank[1:])
                if worth <= rank[place]:
                    continue
            rank[place] = worth
            frequency[i, place] = f
            octave[i, place] = octaves
            local[i, place] = worth - octave_cost * np.log2(ceiling)
    source = np.zeros((frames, count + 1), np.int8)
    score, fresh = local[0].copy(), np.empty(count + 1, np.float32)
    for i in range(1, frames):
        for to in range(states[i]):
            best, place = score[0] - (change_cost if to else 0.0), 0
            for start in range(1, states[i - 1]):
                cost = jump_cost * abs(octave[i - 1, start] - octave[i, to]) if to else change_cost
                if score[start] - cost > best:
                    best, place = score[start] - cost, start
            fresh[to], source[i, to] = best + local[i, to], place
        score, fresh = fresh, score
    f0 = np.empty(frames, np.float32)
    state = np.argmax(score[: states[frames - 1]])
    for i in range(frames - 1, -1, -1):
        f0[i] = frequency[i, state]
        state = source[i, state]
    return f0


@_inlined
def _interpolate(wave, coefficients, differences, share):
    total = np.float32(0.0)
    for i in range(len(wave)):
        total += wave[i] * (coefficients[i] + share * differences[i])
    return total


@_compiled
def resample(wave, ratio, coefficients, differences, out):
    """out[m] is the wave at place m * ratio. Twin: resampling.resample, which tells what the rest is.

    wave: (n,) float32, with `taps` zeros before and at least as many behind every place asked for.
    """
    phases, taps = differences.shape
    for m in range(len(out)):
        place = m * ratio
        whole = int(place)
        phase = (place - whole) * phases
        row = min(int(phase), phases - 1)
        start = whole + taps // 2 + 1
        out[m] = _interpolate(wave[start : start + taps], coefficients[row], differences[row], np.float32(phase - row))


@_inlined
def _crossfade(fading, rising, rate_fading, rate_rising, out):
    # cos(x) on 0..pi as an odd polynomial around pi/2, to 4e-6; numba's own cosine is not vectorised.
    pi, half = np.float32(np.pi), np.float32(0.5)
    c1, c3 = np.float32(-0.99999661), np.float32(0.16664824)
    c5, c7 = np.float32(-0.00830629), np.float32(0.00018363)
    for t in range(len(out)):
        x = min(np.float32(t) * rate_fading, pi) - half * pi
        y = min(np.float32(len(out) - t) * rate_rising, pi) - half * pi
        xx, yy = x * x, y * y
        falling = half + half * x * (c1 + xx * (c3 + xx * (c5 + xx * c7)))
        growing = half + half * y * (c1 + yy * (c3 + yy * (c5 + yy * c7)))
        out[t] = falling * fading[t] + growing * rising[t]


@_compiled
def overlap_add(wave, target, source, left, right, out):
    """Grains of `wave` laid down in `out`. Twin: overlap_add.overlap_add, which tells what they are.

    wave: (n,) float32, with room on either side for every grain; source: places in it, int64.
    """
    pi = np.float32(np.pi)
    for j in range(len(target) - 1):
        begin, end = target[j], target[j + 1]
        count = end - begin
        if count > 0:
            fading = wave[source[j] : source[j] + count]
            rising = wave[source[j + 1] - count : source[j + 1]]
            _crossfade(fading, rising, pi / right[j], pi / left[j + 1], out[begin:end])


@_compiled
def energy_phasor(frames, f0, rate):
    """Twin: pitch_marks.energy_phasor. frames: (F, N) float32; f0: (F,) Hz -> (F,) complex64, 0 where voiceless."""
    count, width = frames.shape
    result = np.zeros(count, np.complex64)
    for i in range(count):
        if f0[i] > 0:
            angle = 2 * np.pi * f0[i] / rate
            turn = complex(np.cos(angle), np.sin(angle))
            phasor = complex(np.cos(-angle * (width // 2)), np.sin(-angle * (width // 2)))
            total, energy = complex(0.0, 0.0), 0.0
            for n in range(width):
                power = frames[i, n] * frames[i, n]
                energy += power
                total += power * phasor
                phasor *= turn
            result[i] = total / max(energy, 1e-20)
    return result


@_compiled
def cascade(wave, sections, out):
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
