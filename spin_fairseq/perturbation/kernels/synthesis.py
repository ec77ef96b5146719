"""A new wave of an old one: resampled, and overlapped and added."""

import numpy as np

from .compiling import compiled, inlined


@inlined
def _interpolate(wave, coefficients, differences, fraction):
    total = np.float32(0.0)
    for i in range(len(wave)):
        total += wave[i] * (coefficients[i] + fraction * differences[i])
    return total


@compiled
def resample(
    wave: np.ndarray, ratio: float, coefficients: np.ndarray, differences: np.ndarray, out: np.ndarray
) -> None:
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


@inlined
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


@compiled
def overlap_add(
    wave: np.ndarray, target: np.ndarray, source: np.ndarray, left: np.ndarray, right: np.ndarray, out: np.ndarray
) -> None:
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
