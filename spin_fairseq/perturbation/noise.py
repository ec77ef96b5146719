"""Noise over speech: what it is made of where there are no recordings, and how loud it becomes."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.fft import irfft, rfft
from scipy.ndimage import uniform_filter1d

SMOOTHING = 200.0  # Hz: more than harmonics are apart, less than formants
SILENT = 1e-10  # mean square of what counts as silence: -100 dB below full scale, less than the last of 16 bits


def speech_shaped_noise(wave: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Stationary Gaussian noise with the long-term spectrum of a wave, smoothed over 200 Hz.

    wave: (T,) float32 or float64; rng: numpy Generator; sample_rate: Hz -> (T,) of the same type, at no level in particular.
    """
    width = max(1, round(SMOOTHING * len(wave) / sample_rate))
    power = uniform_filter1d(np.abs(rfft(wave)) ** 2, width, mode="nearest")
    power = np.maximum(power, 0.0)  # running sums can fall below by rounding
    return irfft(rfft(rng.standard_normal(len(wave), dtype=wave.dtype)) * np.sqrt(power), len(wave))


def babble(talkers: Sequence[np.ndarray], samples: int) -> np.ndarray:
    """Several talkers at once, each as loud as the others: a list of (T_i,) arrays -> (samples,) float32.

    A talker who says less than `samples` begins again; silent ones have no part. Without any talker it is silence.
    """
    mixed = np.zeros(samples, np.float32)
    for wave in talkers:
        mixed += at_level_one(np.resize(wave, samples) if len(wave) else np.zeros(samples))
    return mixed


def at_level_one(wave: np.ndarray) -> np.ndarray:
    """(T,) -> (T,) float32 whose mean square is 1; zeros where it is silence."""
    power = float(np.mean(np.square(wave, dtype=np.float64))) if len(wave) else 0.0
    if power <= SILENT:
        return np.zeros(len(wave), np.float32)
    return (wave / np.sqrt(power)).astype(np.float32, copy=False)


def mean_square(wave: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(B, T) that is zero behind the ends, lengths (B,) -> (B, 1)."""
    return wave.square().sum(1, keepdim=True) / lengths.clamp(min=1)[:, None]


def add_noise(wave: torch.Tensor, noise: torch.Tensor, snr_db: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Wave and noise together, on any device and without waiting for it.

    wave, noise: (B, T) float32, zero behind the ends; lengths: (B,) samples. snr_db: (B,) tensor, the mean square of the
    whole wave over that of the noise, dB. Where either is silent the wave stays as it is. -> (B, T), not clipped.
    """
    speech, level = mean_square(wave, lengths), mean_square(noise, lengths)
    gain = (speech / level.clamp(min=SILENT)).sqrt() * 10.0 ** (-snr_db[:, None] / 20.0)
    return wave + torch.where(level > SILENT, gain, torch.zeros_like(gain)) * noise
