"""A view's acoustics, a room and noise: for one wave in a data worker, or for a batch on any device."""

from typing import NamedTuple
from collections.abc import Sequence

import numpy as np
import torch

from .noise import add_noise, at_level_one
from .rooms import reverberate


class Acoustics(NamedTuple):
    """What is drawn for one view of one utterance."""

    noise: np.ndarray  # (T,) float32, as long as the view and at any level; empty: none
    snr_db: float
    room: np.ndarray  # (L,) float32, an impulse response from the direct sound on; empty: none


SILENCE = np.zeros(0, np.float32)
AS_RECORDED = Acoustics(SILENCE, 0.0, SILENCE)


def change_acoustics(wave: np.ndarray, acoustics: Acoustics) -> np.ndarray:
    """(T,) float32 -> (T,) float32: in the room, then with the noise. Without either the wave comes back as it is.

    The signal-to-noise ratio is that of the whole view. A sum that passes full scale is scaled down as a whole, so that
    its peak is 1: nothing is clipped, and the ratio stays.
    """
    if not len(acoustics.noise) and not len(acoustics.room):
        return wave
    lengths = torch.tensor([len(wave)])
    return change_acoustics_of_batch(torch.from_numpy(wave)[None], lengths, *stack([acoustics], len(wave)))[0].numpy()


def stack(acoustics: Sequence[Acoustics], samples: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Acoustics of B utterances -> noise (B, samples) at level 1, snr_db (B,), rooms (B, L), float32 tensors.

    Where there is none, a row is zero; where no utterance has any, its tensor has no columns.
    """
    noise = [at_level_one(each.noise) for each in acoustics]
    rooms = [each.room for each in acoustics]
    return (
        _rows(noise, samples if any(map(len, noise)) else 0),
        torch.tensor([each.snr_db for each in acoustics], dtype=torch.float32),
        _rows(rooms, max(map(len, rooms))),
    )


def _rows(arrays, width):
    rows = torch.zeros(len(arrays), width)
    for row, array in zip(rows, arrays):
        row[: len(array)] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    return rows


def change_acoustics_of_batch(
    wave: torch.Tensor, lengths: torch.Tensor, noise: torch.Tensor, snr_db: torch.Tensor, rooms: torch.Tensor
) -> torch.Tensor:
    """As `change_acoustics`, for a batch on any device and without waiting for it: (B, T) -> (B, T).

    wave: float32, zero behind the ends; lengths: (B,) samples; noise, snr_db, rooms: of `stack`, on the same device.
    """
    changed = wave
    if rooms.size(1):
        changed = reverberate(changed, rooms.float(), lengths)
    if noise.size(1):
        changed = add_noise(changed, noise.float(), snr_db.float(), lengths)
    peak = changed.abs().amax(1, keepdim=True).clamp(min=1.0)
    touched = (rooms[:, :1] != 0).any(1, keepdim=True) | (noise != 0).any(1, keepdim=True)
    return torch.where(touched, changed / peak, wave)
