"""The path of the pitch through the peaks of autocorrelations."""

import numpy as np

from .compiling import compiled


@compiled
def track(
    r: np.ndarray, intensity: np.ndarray, lag_rate: float, floor: float, ceiling: float, count: int, voicing: float,
    silence: float, octave_cost: float, jump_cost: float, change_cost: float,
) -> np.ndarray:  # fmt: skip
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
