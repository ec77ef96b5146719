"""Pitch marks: where the energy of a cycle lies, and the marks of a pitch contour."""

import numpy as np

from .compiling import compiled, in_order

LANES = 8  # neighbouring samples whose phasors are computed side by side


@compiled
def energy_phasor(frames: np.ndarray, f0: np.ndarray, rate: float) -> np.ndarray:
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


@in_order
def marks_of_contour(
    phasor: np.ndarray, f0: np.ndarray, valid: np.ndarray, half_step: float, sample_rate: float, length: int,
    reach: int, beyond_limit: float, resolution: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Pitch marks of one utterance. Twin: pitch_marks.marks_of_contour, which tells how they are found.

    phasor: (F,) complex64; f0: (F,) float32 Hz; valid: (F,) bool -> times (M,) float64 samples, joined (M,) bool.
    """
    frames = len(f0)
    interval = np.full(frames, -1, np.int64)
    number = 0
    for i in range(frames):
        if f0[i] > 0 and valid[i]:
            if i == 0 or interval[i - 1] < 0:
                number += 1
            interval[i] = number
    phase = np.zeros(frames)
    for i in range(1, frames):
        phase[i] = phase[i - 1] + np.float64(f0[i] + f0[i - 1]) / 2 * (2 * half_step / sample_rate)
    turned = np.empty(frames, np.complex128)
    for i in range(frames):
        angle = -2 * np.pi * phase[i]
        turned[i] = np.conj(np.complex128(phasor[i])) * complex(np.cos(angle), np.sin(angle))
    total = np.zeros(frames + 1, np.complex128)
    for _ in range(2):  # sums over neighbours in the same interval
        for i in range(frames):
            total[i + 1] = total[i] + turned[i]
        first = 0
        while first < frames:
            last = first
            while last + 1 < frames and interval[last + 1] == interval[first]:
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
        if interval[i] < 0:
            continue
        half = np.float64(f0[i]) * (2 * half_step / sample_rate / 2)
        beyond = min(half, beyond_limit)
        begins[i, 1] = ends[i, 0] = phase[i]
        if i > 0 and interval[i - 1] >= 0:
            begins[i, 0] = (phase[i] + phase[i - 1]) / 2
        else:
            reached = beyond if i > 0 else 0.0  # there is nothing before the wave's start
            begins[i, 0] = phase[i] - half - reached
            longer[i, 0] = reached / max(half, 1e-9)
        if i + 1 < frames and interval[i + 1] >= 0:
            ends[i, 1] = (phase[i + 1] + phase[i]) / 2
        else:
            ends[i, 1] = phase[i] + half + beyond
            longer[i, 1] = beyond / max(half, 1e-9)
        for part in range(2):
            count += max(0, int(np.floor(ends[i, part]) - np.floor(begins[i, part])))
    times, joined, owner = np.empty(count), np.zeros(count, np.bool_), np.empty(count, np.int64)
    found = 0
    for i in range(frames):
        if interval[i] < 0:
            continue
        for part in range(2):
            begin, end, steps = begins[i, part], ends[i, part], 1 + longer[i, part]
            for rank in range(int(np.floor(end) - np.floor(begin))):
                fraction = (np.floor(begin) + 1 + rank - begin) / (end - begin)
                place = 2 * i + part + (fraction * steps if part else 1 - (1 - fraction) * steps)
                time = np.round(place * half_step * resolution) / resolution
                if time < length:  # the last one may have come to lie behind the end
                    times[found], owner[found] = time, interval[i]
                    if found:
                        joined[found - 1] = owner[found - 1] == owner[found]
                    found += 1
    return times[:found], joined[:found]
