"""The inner loops for the CPU, compiled by numba. Each has a twin in torch, which other devices use, and a test against it.

numba compiles a function when it is first called, which takes seconds, and keeps the result on disk.
"""

import numpy as np
from numba import njit


# Sums may be taken in any order, so that they are vectorised; NaN and infinity keep their meaning.
LANES = 8  # neighbouring samples whose phasors are computed side by side
SEGMENTS = 64  # of a wave that are filtered side by side
OPTIONS = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


def _compiled(function, options=OPTIONS):
    try:
        return njit(function, cache=True, **options)
    except RuntimeError:  # no folder to keep the result in
        return njit(function, **options)


def _in_order(function):
    """What is rounded to whole numbers at last is computed in the order in which it is written, as its twin does."""
    return _compiled(function, {"nogil": True})


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
    # The phasors of LANES neighbouring samples, side by side: a phasor that is turned from sample to sample is waited for.
    cosines, sines = np.empty(LANES), np.empty(LANES)
    for i in range(count):
        if f0[i] > 0:
            angle = 2 * np.pi * f0[i] / rate
            for k in range(LANES):
                cosines[k], sines[k] = np.cos(angle * (k - width // 2)), np.sin(angle * (k - width // 2))
            turn_cosine, turn_sine = np.cos(angle * LANES), np.sin(angle * LANES)
            real, imaginary, energy = 0.0, 0.0, 0.0
            for start in range(0, width - LANES + 1, LANES):
                for k in range(LANES):
                    power = frames[i, start + k] * frames[i, start + k]
                    cosine, sine = cosines[k], sines[k]
                    energy += power
                    real += power * cosine
                    imaginary += power * sine
                    cosines[k] = cosine * turn_cosine - sine * turn_sine
                    sines[k] = sine * turn_cosine + cosine * turn_sine
            for n in range(width - width % LANES, width):
                power = frames[i, n] * frames[i, n]
                energy += power
                real += power * cosines[n % LANES]
                imaginary += power * sines[n % LANES]
            result[i] = complex(real, imaginary) / max(energy, 1e-20)
    return result


@_in_order
def marks_of_contour(phasor, f0, valid, half_step, sample_rate, length, reach, beyond_limit, resolution):
    """Pitch marks of one utterance. Twin: pitch_marks.marks_of_contour, which tells how they are found.

    phasor: (F,) complex64; f0: (F,) float32 Hz; valid: (F,) bool -> times (M,) float64 samples, joined (M,) bool.
    """
    frames = len(f0)
    stretch = np.full(frames, -1, np.int64)
    number = 0
    for i in range(frames):
        if f0[i] > 0 and valid[i]:
            if i == 0 or stretch[i - 1] < 0:
                number += 1
            stretch[i] = number
    phase = np.zeros(frames)
    for i in range(1, frames):
        phase[i] = phase[i - 1] + np.float64(f0[i] + f0[i - 1]) / 2 * (2 * half_step / sample_rate)
    turned = np.empty(frames, np.complex128)
    for i in range(frames):
        angle = -2 * np.pi * phase[i]
        turned[i] = np.conj(np.complex128(phasor[i])) * complex(np.cos(angle), np.sin(angle))
    total = np.zeros(frames + 1, np.complex128)
    for _ in range(2):  # sums over neighbours in the same stretch
        for i in range(frames):
            total[i + 1] = total[i] + turned[i]
        first = 0
        while first < frames:
            last = first
            while last + 1 < frames and stretch[last + 1] == stretch[first]:
                last += 1
            for i in range(first, last + 1):
                turned[i] = total[min(i + reach, last) + 1] - total[max(i - reach, first)]
            first = last + 1
    before = 0.0
    unwrapped = 0.0
    for i in range(frames):
        rest = np.arctan2(turned[i].imag, turned[i].real) / (2 * np.pi)
        step = rest - before
        unwrapped += rest if i == 0 else step - np.round(step)
        before = rest
        phase[i] += unwrapped
    begins, ends, longer = np.zeros((frames, 2)), np.zeros((frames, 2)), np.zeros((frames, 2))
    count = 0
    for i in range(frames):
        if stretch[i] < 0:
            continue
        half = np.float64(f0[i]) * (2 * half_step / sample_rate / 2)
        beyond = min(half, beyond_limit)
        begins[i, 1] = ends[i, 0] = phase[i]
        if i > 0 and stretch[i - 1] >= 0:
            begins[i, 0] = (phase[i] + phase[i - 1]) / 2
        else:
            reached = beyond if i > 0 else 0.0  # there is nothing before the wave's start
            begins[i, 0] = phase[i] - half - reached
            longer[i, 0] = reached / max(half, 1e-9)
        if i + 1 < frames and stretch[i + 1] >= 0:
            ends[i, 1] = (phase[i + 1] + phase[i]) / 2
        else:
            ends[i, 1] = phase[i] + half + beyond
            longer[i, 1] = beyond / max(half, 1e-9)
        for part in range(2):
            count += max(0, int(np.floor(ends[i, part]) - np.floor(begins[i, part])))
    times, joined, owner = np.empty(count), np.zeros(count, np.bool_), np.empty(count, np.int64)
    found = 0
    for i in range(frames):
        if stretch[i] < 0:
            continue
        for part in range(2):
            begin, end, steps = begins[i, part], ends[i, part], 1 + longer[i, part]
            for rank in range(int(np.floor(end) - np.floor(begin))):
                fraction = (np.floor(begin) + 1 + rank - begin) / (end - begin)
                place = 2 * i + part + (fraction * steps if part else 1 - (1 - fraction) * steps)
                time = np.round(place * half_step * resolution) / resolution
                if time < length:  # the last one may have come to lie behind the end
                    times[found], owner[found] = time, stretch[i]
                    if found:
                        joined[found - 1] = owner[found - 1] == owner[found]
                    found += 1
    return times[:found], joined[:found]


@njit(inline="always", nogil=True)
def _noise(number, seed):
    x = np.int64(number + 1) * np.int64(0x9E3779B1) + np.int64(seed) * np.int64(0x85EBCA6B)
    x = ((x ^ (x >> 16)) * np.int64(0x45D9F3B)) & np.int64(0xFFFFFFFF)
    x = ((x ^ (x >> 15)) * np.int64(0x2C1B3C6D)) & np.int64(0xFFFFFFFF)
    return np.float64(x ^ (x >> 16)) / 2.0**31 - 1.0


@_in_order
def plan(times, joined, length, sample_rate, formant_ratio, pitch_ratio, range_ratio, seed, limits):
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
    # Cycles since the beginning of the stretch: at each piece's start and end, and how many are whole at its start
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


@_inlined
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


@_inlined
def _multiply(a, b, out):
    """out = a b, (n, n) each; a section's states depend on those of the sections before it and its own alone."""
    out[:] = 0.0
    for i in range(len(a)):
        for k in range((i | 1) + 1):
            for j in range((k | 1) + 1):
                out[i, j] += a[i, k] * b[k, j]


@_inlined
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


@_compiled
def cascade_side_by_side(wave, sections, out):
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
