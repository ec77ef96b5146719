"""How long a speaker's vocal tract is, relative to that of others.

A shorter tract has all of its formants at higher frequencies, by one factor: it stretches the frequency axis. The factor is
found as in vocal tract length normalisation (Lee and Rose 1998, IEEE Trans. Speech and Audio Processing 6): the voiced
frames of the speaker are described by mel cepstra whose bands are moved by each factor of a grid, and the factor wins under
which a Gaussian mixture of normalised speakers finds them most likely. The whole spectrum takes part, so that no formant has
to be tracked, and the mixture knows the sounds, so that few seconds serve.

- Windows of 16 ms and bands at least 400 Hz wide resolve no harmonics: the pitch does not count.
- Cepstra are less their mean over the recording: a microphone or an equaliser does not count.
- The mixture, in vocal_tract_reference.tsv, was fitted on 226 speakers (docs/voices.md). A speaker's factor
  depends on that speaker alone. Only ratios of two speakers' lengths mean something.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.fft

from ..speech.audio import SAMPLE_RATE

REFERENCE = Path(__file__).with_name("vocal_tract_reference.tsv")
WARP_STEP = 0.02
WARPS = np.exp(WARP_STEP * np.arange(-18, 19))  # of the frequency axis, 0.70 to 1.43
MOST_FRAMES = 500  # of a recording, evenly spaced
WINDOW = 256  # samples, 16 ms
FFT_SIZE = 512
LOWEST, HIGHEST = 150.0, 5200.0  # Hz, of the bands before they are moved; the highest is moved to 7,450
BANDS = 24
NARROWEST = 200.0  # Hz, from a band's centre to its end
CEPSTRA = 12
FLOOR = 1e-8  # of a band's power, relative to the mean power of the recording


class Mixture(NamedTuple):
    """A Gaussian mixture with diagonal covariances."""

    weights: np.ndarray  # (K,)
    means: np.ndarray  # (K, CEPSTRA)
    variances: np.ndarray  # (K, CEPSTRA)


@functools.cache
def reference_mixture() -> Mixture:
    """The mixture of the package: a row a component, its weight, means and variances."""
    table = np.loadtxt(REFERENCE, dtype=np.float32, ndmin=2)
    return Mixture(table[:, 0], *np.split(table[:, 1:], 2, axis=1))


def _mel(frequency):
    return 2595 * np.log10(1 + frequency / 700)


@functools.cache
def _cepstra_of_warps():
    """-> weights of the bands (bins, warps * BANDS), and of the cepstra (BANDS, CEPSTRA); float32."""
    edges = 700 * (10 ** (np.linspace(_mel(LOWEST), _mel(HIGHEST), BANDS + 2) / 2595) - 1)
    low, centre, high = (edges[i : i + BANDS, None] for i in range(3))
    low, high = (warp * WARPS[:, None, None] for warp in (low, high))
    centre = centre * WARPS[:, None, None]
    low, high = np.minimum(low, centre - NARROWEST), np.maximum(high, centre + NARROWEST)
    frequency = np.fft.rfftfreq(FFT_SIZE, 1 / SAMPLE_RATE)
    bands = np.minimum((frequency - low) / (centre - low), (high - frequency) / (high - centre)).clip(0)
    bands /= bands.sum(-1, keepdims=True)
    cosines = scipy.fft.dct(np.eye(BANDS), axis=0, norm="ortho")[1 : CEPSTRA + 1]
    return bands.reshape(-1, bands.shape[-1]).T.astype(np.float32), cosines.T.astype(np.float32)


def warped_cepstra(wave: np.ndarray, f0: np.ndarray, step: int) -> np.ndarray:
    """-> (warps, frames, CEPSTRA) float32 of at most MOST_FRAMES voiced frames, with mean 0 over the frames.

    wave: (T,) float32 at 16 kHz; f0: (F,) Hz, 0 where voiceless, of frames every `step` samples, the first at half a step.
    """
    voiced = np.flatnonzero(f0 > 0)
    if len(voiced) > MOST_FRAMES:
        voiced = voiced[np.linspace(0, len(voiced) - 1, MOST_FRAMES).astype(int)]
    if not len(voiced):
        return np.zeros((len(WARPS), 0, CEPSTRA), np.float32)
    padded = np.pad(wave, (WINDOW // 2, WINDOW // 2 + step))
    frames = padded[(voiced * step + step // 2)[:, None] + np.arange(WINDOW)] * np.hanning(WINDOW).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, FFT_SIZE)).astype(np.float32) ** 2
    bands, cosines = _cepstra_of_warps()
    levels = np.log(power @ bands / max(power.mean(), np.finfo(np.float32).tiny) + FLOOR)
    cepstra = levels.reshape(len(voiced), len(WARPS), BANDS) @ cosines
    return (cepstra - cepstra.mean(0)).transpose(1, 0, 2)


def log_likelihoods(cepstra: np.ndarray, mixture: Mixture) -> np.ndarray:
    """(..., frames, CEPSTRA) -> (...,) float64, summed over the frames."""
    precision = 1 / mixture.variances
    squares = np.log(2 * np.pi * mixture.variances) + mixture.means**2 * precision
    constant = np.log(mixture.weights) - 0.5 * squares.sum(1)
    scores = cepstra @ (mixture.means * precision).T - 0.5 * cepstra**2 @ precision.T + constant
    most = scores.max(-1, keepdims=True)
    frames = most[..., 0] + np.log(np.exp(scores - most).sum(-1))
    return frames.sum(-1, dtype=np.float64)


def scores_of_warps(wave: np.ndarray, f0: np.ndarray, step: int) -> np.ndarray:
    """How likely each of WARPS is: (warps,) float64, which add up over the recordings of a speaker. As `warped_cepstra`."""
    return log_likelihoods(warped_cepstra(wave, f0, step), reference_mixture())


def relative_length(scores: np.ndarray) -> float:
    """Length of the vocal tract relative to the reference's mean; NaN where no warp inside the grid is the most likely.

    scores: (warps,), the sum of `scores_of_warps` over recordings. The length is the inverse of the most likely warp, which a
    parabola places between those of the grid.
    """
    best = int(scores.argmax())
    if not 0 < best < len(scores) - 1:
        return float("nan")
    before, middle, after = scores[best - 1 : best + 2]
    offset = 0.5 * (before - after) / (before - 2 * middle + after)
    return float(np.exp(-WARP_STEP * (best + offset - len(scores) // 2)))
