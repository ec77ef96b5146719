"""Rooms: impulse responses, synthetic or recorded, and speech in them."""

import numpy as np
import torch
from scipy.fft import next_fast_len

DECAY_SECONDS = (0.2, 0.8)  # reverberation time T60 of synthetic rooms
DIRECT_DB = (0.0, 6.0)  # energy of their direct sound over that of the reverberation
LONGEST_SECONDS = 2.0  # of an impulse response that is used


def synthetic_room(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """An impulse response after Polack: the direct sound, then Gaussian noise that decays by 60 dB in T60.

    rng: numpy Generator; T60 and the energy of the direct sound are uniform in their ranges. -> (L,) float64.
    """
    decay = rng.uniform(*DECAY_SECONDS)
    time = np.arange(int(decay * sample_rate)) / sample_rate
    room = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay)
    room *= np.sqrt(10 ** (-rng.uniform(*DIRECT_DB) / 10) / np.sum(np.square(room)))
    room[0] = 1.0
    return room


def from_direct_sound(room: np.ndarray, sample_rate: int) -> np.ndarray:
    """A recorded impulse response from its highest peak on, which becomes 1: so speech is not delayed in it.

    (L,) array -> (at most 2 s,) float32; empty where the response is silent.
    """
    room = np.asarray(room, dtype=np.float32)
    start = int(np.abs(room).argmax()) if len(room) else 0
    if not len(room) or abs(room[start]) < 1e-5:
        return np.zeros(0, np.float32)
    return room[start : start + int(LONGEST_SECONDS * sample_rate)] / room[start]


def reverberate(wave: torch.Tensor, rooms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Speech in rooms, as long and as loud as before, on any device and without waiting for it.

    wave: (B, T) float32, zero behind the ends; lengths: (B,) samples. rooms: (B, L) impulse responses that begin with the
    direct sound; a row that begins with 0 is no room, and its wave stays as it is. -> (B, T).
    """
    size = next_fast_len(wave.size(1) + rooms.size(1), real=True)
    changed = torch.fft.irfft(torch.fft.rfft(wave, size) * torch.fft.rfft(rooms, size), size)[:, : wave.size(1)]
    inside = torch.arange(wave.size(1), device=wave.device) < lengths[:, None]
    changed = torch.where(inside, changed, torch.zeros_like(changed))
    energy = changed.square().sum(1, keepdim=True)
    level = (wave.square().sum(1, keepdim=True) / energy.clamp(min=1e-20)).sqrt()
    return torch.where(rooms[:, :1] != 0, changed * level, wave)
