"""A 10-band parametric equaliser: low shelf, eight peaks, high shelf (Audio EQ Cookbook, Bristow-Johnson)."""

import math

import numpy as np
import torch
from scipy.fft import next_fast_len

from . import kernels
from .waves import Wave, as_waves

BANDS = 10
LOWEST_HZ, HIGHEST_HZ = 60.0, 7600.0
CENTRES_HZ = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS)
LONG = 64 * kernels.SEGMENTS  # samples from which on the parts of a wave are filtered side by side
RINGING = 1.0  # s after which the lowest band has died away, for gains and Q of the recipe


def biquads(sample_rate: float, gains_db: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Second-order sections of the equaliser: (10, 6) float64, rows b0 b1 b2 1 a1 a2.

    sample_rate: Hz; gains_db, q: (10,). Bands whose centre is not below the Nyquist frequency pass everything.
    """
    sections = np.tile([1.0, 0.0, 0.0, 1.0, 0.0, 0.0], (BANDS, 1))
    for band, (centre, gain, quality) in enumerate(zip(CENTRES_HZ, gains_db, q)):
        if centre >= sample_rate / 2:
            continue
        amplitude = 10.0 ** (gain / 40.0)
        omega = 2.0 * np.pi * centre / sample_rate
        cosine, alpha = np.cos(omega), np.sin(omega) / (2.0 * quality)
        if band in (0, BANDS - 1):
            # The high shelf is the low shelf with the frequency axis turned round: the cosines change sign.
            sign = 1.0 if band == 0 else -1.0
            root = 2.0 * np.sqrt(amplitude) * alpha
            plus, minus = amplitude + 1.0, amplitude - 1.0
            b = [
                amplitude * (plus - sign * minus * cosine + root),
                sign * 2.0 * amplitude * (minus - sign * plus * cosine),
                amplitude * (plus - sign * minus * cosine - root),
            ]
            a = [
                plus + sign * minus * cosine + root,
                -sign * 2.0 * (minus + sign * plus * cosine),
                plus + sign * minus * cosine - root,
            ]
        else:
            b = [1.0 + alpha * amplitude, -2.0 * cosine, 1.0 - alpha * amplitude]
            a = [1.0 + alpha / amplitude, -2.0 * cosine, 1.0 - alpha / amplitude]
        sections[band] = np.array(b + a) / a[0]
    return sections


def filter_by_spectrum(wave: torch.Tensor, sections: torch.Tensor, sample_rate: float) -> torch.Tensor:
    """The sections' filter by one FFT: (B, T) float32, (B, S, 6) -> (B, T), on any device."""
    size = next_fast_len(wave.size(1) + int(RINGING * sample_rate), real=True)
    # In double precision: the poles of the lowest band lie close to 1.
    turn = torch.arange(size // 2 + 1, device=wave.device, dtype=torch.float64) * (-2 * math.pi / size)
    turn = torch.polar(torch.ones_like(turn), turn)
    response = torch.ones((), dtype=turn.dtype, device=wave.device)
    for section in sections.unbind(1):
        b0, b1, b2, a0, a1, a2 = section[:, :, None].unbind(1)
        response = response * (b0 + turn * (b1 + turn * b2)) / (a0 + turn * (a1 + turn * a2))
    spectrum = torch.fft.rfft(wave, size) * response.to(torch.complex64)
    return torch.fft.irfft(spectrum, size)[:, : wave.size(1)]


def equalize(
    wave: Wave, sample_rate: float, *, gains_db: np.ndarray, q: np.ndarray, lengths: torch.Tensor | None = None
) -> Wave:
    """The wave through the equaliser, not clipped; float32, of the same shape and kind.

    wave: (T,) or (B, T) float array or tensor; lengths: (B,) samples of each row. gains_db (dB), q: (10,), or (B, 10)
    for a batch, on the host. Raises PerturbationError.
    """
    waves = as_waves(wave, lengths)
    shape = (len(waves.samples), BANDS)
    gains_db, q = (np.broadcast_to(np.asarray(values, dtype=np.float64), shape) for values in (gains_db, q))
    sections = np.stack([biquads(sample_rate, *row) for row in zip(gains_db, q)])
    if not waves.on_host:
        sections = torch.from_numpy(sections).to(wave.device, non_blocking=True)
        filtered = filter_by_spectrum(waves.masked(waves.samples), sections, sample_rate)
        return waves.like_input(waves.masked(filtered))
    result = torch.zeros_like(waves.samples)
    for row, own, out in zip(waves.rows(), sections, result.numpy()):
        filter_row = kernels.cascade_side_by_side if row.size(1) >= LONG else kernels.cascade
        filter_row(row[0].numpy(), own, out)
    return waves.like_input(result)
