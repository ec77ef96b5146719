"""MFCCs at the frames of HuBERT: the plainest features to compare with.

13 coefficients with their first and second differences, as HuBERT's first iteration clusters them (Hsu et al. 2021,
section IV-B): windows of 25 ms (periodic Hann) every 10 ms, power spectrum, 40 Slaney mel bands from 0 to 8 kHz of equal
area, decibels, orthonormal DCT-II; differences by a Savitzky-Golay filter over 9 windows. Of these, every second is kept: frame
t of 20 ms has its window on samples 320 t .. 320 t + 400, which are just those that HuBERT's frame t sees.
"""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.signal import savgol_coeffs

from ...speech.audio import SAMPLE_RATE
from ...encoders.front_end import Lengths

WINDOW, HOP = 400, 160  # samples
BANDS, COEFFICIENTS, DELTA_WIDTH = 40, 13, 9
WIDTH = 3 * COEFFICIENTS
FLOOR = 1e-10  # of a band's power, as of digital silence


def output_lengths(samples: Lengths) -> Lengths:
    """Frames of 20 ms of so many samples, an int or array."""
    return (samples - WINDOW) // (2 * HOP) + 1


def _mel(hertz):
    """Slaney's scale: linear up to 1 kHz, logarithmic above."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def _hertz(mel):
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


@lru_cache(maxsize=1)
def _tables():
    """-> mel filters (BANDS, WINDOW // 2 + 1), DCT (COEFFICIENTS, BANDS), difference filters (2, DELTA_WIDTH)."""
    edges = torch.tensor(
        [_hertz(_mel(SAMPLE_RATE / 2) * i / (BANDS + 1)) for i in range(BANDS + 2)], dtype=torch.float64
    )
    lower, centre, upper = (edges[i : i + BANDS, None] for i in range(3))
    bins = torch.arange(WINDOW // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / WINDOW
    filters = torch.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)).clamp(min=0)
    filters = filters * 2 / (upper - lower)
    order = torch.arange(COEFFICIENTS, dtype=torch.float64)[:, None]
    dct = torch.cos(math.pi / BANDS * (torch.arange(BANDS) + 0.5) * order) * math.sqrt(2 / BANDS)
    dct[0] /= math.sqrt(2)
    differences = [savgol_coeffs(DELTA_WIDTH, polyorder=n, deriv=n, use="dot") for n in (1, 2)]
    return filters.float(), dct.float(), torch.from_numpy(np.array(differences)).float()


def mfcc(wave: torch.Tensor) -> torch.Tensor:
    """wave: (T,) float at 16 kHz, T >= 400, on any device -> (output_lengths(T), 39) float32."""
    filters, dct, differences = (table.to(wave.device) for table in _tables())
    windows = wave.float().unfold(0, WINDOW, HOP) * torch.hann_window(WINDOW, device=wave.device)
    power = torch.fft.rfft(windows).abs() ** 2
    coefficients = 10 * torch.log10((power @ filters.t()).clamp(min=FLOOR)) @ dct.t()
    half = DELTA_WIDTH // 2
    padded = F.pad(coefficients.t()[:, None], (half, half), mode="replicate")
    deltas = F.conv1d(padded, differences[:, None]).permute(1, 2, 0)  # (2, windows, COEFFICIENTS)
    return torch.cat([coefficients, deltas[0], deltas[1]], dim=-1)[::2]
