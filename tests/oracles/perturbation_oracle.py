"""The native perturbation's parts as plain loops over numbers, written from their definitions."""

import itertools
import math


def autocorrelation(frame, window, lags):
    """Normalised autocorrelation of a windowed frame over the window's own, lag by lag (Boersma 1993, equation 9)."""

    def r(x, lag):
        return sum(x[n] * x[n + lag] for n in range(len(x) - lag)) / sum(value * value for value in x)

    return [r(frame, lag) / r(window, lag) for lag in range(lags)]


def best_path(frames, voiceless, octave_cost, jump_cost, change_cost, ceiling):
    """Every path is tried. frames: for each, a list of (frequency, strength); voiceless: a strength for each -> f0."""
    best, best_score = None, -math.inf
    for path in itertools.product(*([None, *candidates] for candidates in frames)):
        score = 0.0
        for i, choice in enumerate(path):
            score += voiceless[i] if choice is None else choice[1] - octave_cost * math.log2(ceiling / choice[0])
            if i:
                last = path[i - 1]
                if (last is None) != (choice is None):
                    score -= change_cost
                elif choice is not None:
                    score -= jump_cost * abs(math.log2(last[0] / choice[0]))
        if score > best_score + 1e-9:
            best, best_score = path, score
    return [0.0 if choice is None else choice[0] for choice in best]


def resample(wave, ratio, length, zero_crossings):
    """Windowed-sinc interpolation, each coefficient computed where it is needed; the coefficients of a place sum to 1."""
    cutoff = min(1.0, 1.0 / ratio)
    reach = math.ceil(zero_crossings / cutoff)
    out = []
    for m in range(length):
        place, total, weights = m * ratio, 0.0, 0.0
        for n in range(math.floor(place) - reach, math.floor(place) + reach + 2):
            x = cutoff * (n - place)
            if abs(x) >= zero_crossings:
                continue
            weight = (math.sin(math.pi * x) / (math.pi * x) if x else 1.0) * math.cos(
                math.pi / 2 * x / zero_crossings
            ) ** 2
            weights += weight
            total += weight * (wave[n] if 0 <= n < len(wave) else 0.0)
        out.append(total / weights)
    return out


def overlap_add(wave, grains, length):
    """Grain by grain: each is a piece of the wave times its window. grains: (target, source, left, right) in samples."""
    out = [0.0] * length
    for target, source, left, right in grains:
        for offset in range(-math.ceil(left), math.ceil(right) + 1):
            half = right if offset >= 0 else left
            place = source + offset
            if abs(offset) < half and 0 <= target + offset < length and 0 <= place < len(wave):
                out[target + offset] += wave[place] * (0.5 + 0.5 * math.cos(math.pi * offset / half))
    return out


def grain_places(times, joined, end, pitch_ratio, range_ratio, lowest, highest):
    """(target, source) of the grains in voiced stretches, one after another along each stretch, in samples.

    end: of the wave; lowest, highest: of the new f0, in cycles a sample.

    The first lies on the first mark; each next one where the new f0, constant between two marks, completes a period. One
    more may come after the last mark, within half a new period and half of the gap to the next mark.
    """
    gaps = {k: times[k + 1] - times[k] for k in range(len(times) - 1) if joined[k]}
    # The period at a gap is that of the gap, and half as much of either neighbour in the stretch.
    periods = {k: (gaps.get(k - 1, gap) + 2 * gap + gaps.get(k + 1, gap)) / 4 for k, gap in gaps.items()}
    # The median over time: each gap counts as long as it lasts.
    total, median = 0.0, None
    for k in sorted(gaps, key=periods.get, reverse=True):
        total += gaps[k]
        if median is None and total >= sum(gaps.values()) / 2:
            median = 1 / periods[k]
    places, k = [], 0
    while k < len(times) - 1:
        if not joined[k]:
            k += 1
            continue
        places.append((times[k], times[k]))
        cycles = 0.0
        while k < len(times) - 1 and joined[k]:
            gap = gaps[k]
            f0 = max(
                median * pitch_ratio * (1 + (1 / periods[k] / median - 1) * range_ratio), 0.25 * median * pitch_ratio
            )
            f0 = min(max(f0, lowest), highest)
            if pitch_ratio == range_ratio == 1:  # nothing is asked for
                f0 = 1 / gap
            whole = math.floor(cycles + 1e-6) + 1
            while whole <= cycles + gap * f0 + 1e-6:
                target = times[k] + (whole - cycles) / f0
                places.append((target, times[k] if target - times[k] < gap * (0.5 - 1e-6) else times[k + 1]))
                whole += 1
            cycles += gap * f0
            k += 1
        target = times[k] + (whole - cycles) / f0
        following = times[k + 1] if k + 1 < len(times) else end
        if target <= times[k] + min(0.5 / f0, (following - times[k]) / 2) + 1e-6 / f0:
            places.append((target, times[k]))
    return places
