"""One wave or a batch of them, arrays or tensors: the public functions return the form that they were given."""

from typing import NamedTuple

import numpy as np
import torch

from ..errors import PerturbationError

Wave = np.ndarray | torch.Tensor
Numbers = float | np.ndarray  # one, or one for each row
FEWEST_SAMPLES = 32  # of the waves of a batch


class Waves(NamedTuple):
    """A batch, and the form in which it came."""

    samples: torch.Tensor  # (B, T) float32
    lengths: torch.Tensor  # (B,) int64, on the same device
    single: bool
    array: bool

    def like_input(self, samples: torch.Tensor) -> Wave:
        """(B, T) -> (T,) for a single wave; an array for an array."""
        samples = samples[0] if self.single else samples
        return samples.numpy() if self.array else samples

    @property
    def on_host(self) -> bool:
        return self.samples.device.type == "cpu"

    def rows(self) -> list[torch.Tensor]:
        """Each row without its padding, (1, T_b); on the host."""
        return [row[None, :length] for row, length in zip(self.samples, self.lengths.tolist())]

    def masked(self, samples: torch.Tensor) -> torch.Tensor:
        """(B, T) with zeros behind the ends."""
        return samples * (torch.arange(samples.size(1), device=samples.device) < self.lengths[:, None])


def as_waves(wave: Wave, lengths: torch.Tensor | None = None) -> Waves:
    """wave: (T,) or (B, T), a float array or tensor; lengths: (B,) samples, None for full rows.

    PerturbationError for another shape or type, for more rows than samples, and on the CPU for NaN and infinity (another device is not waited for).
    """
    array = not torch.is_tensor(wave)
    samples = _tensor(wave) if array else wave.detach()
    if samples.dim() not in (1, 2) or not samples.is_floating_point():
        raise PerturbationError(
            f"a wave is a float array of shape (T,) or (B, T); this is {samples.dtype} of shape {tuple(samples.shape)}"
        )
    if samples.dim() == 2 and samples.size(1) and len(samples) > 1:
        _check_orientation(*samples.shape)
    single = samples.dim() == 1
    samples = (samples[None] if single else samples).float()
    # The sum tells in one pass; that it overflows without infinity in it is no reason to refuse.
    if samples.device.type == "cpu" and not samples.sum().isfinite() and not samples.isfinite().all():
        row, place = (~torch.isfinite(samples)).nonzero()[0].tolist()
        raise PerturbationError(f"row {row} of the wave is not a number at sample {place}; remove or mend it")
    if lengths is None:
        lengths = torch.full((len(samples),), samples.size(1), device=samples.device)
    else:
        lengths = torch.as_tensor(lengths).to(samples.device, torch.int64, non_blocking=True).reshape(-1)
        if len(lengths) != len(samples):
            raise PerturbationError(f"{len(lengths)} lengths for {len(samples)} waves")
        lengths = lengths.clamp(0, samples.size(1))
    return Waves(samples, lengths, single, array)


def _tensor(wave):
    """An array as a tensor; torch takes neither one that is read backwards nor the other order of bytes."""
    array = np.asarray(wave)
    try:
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    except TypeError as error:
        raise PerturbationError(
            f"a wave is a float array of shape (T,) or (B, T); this is {array.dtype} of shape {array.shape}"
        ) from error


def _check_orientation(rows, samples):
    """PerturbationError: (T, channels), as audio files are read, would be taken for T waves of two samples."""
    if rows > samples or samples < FEWEST_SAMPLES:
        raise PerturbationError(
            f"shape ({rows}, {samples}) means {rows} waves of {samples} samples, but looks like (samples, channels); "
            "give one channel, wave[:, 0], or their mean, wave.mean(1); a batch is (waves, samples)"
        )


def per_row(name: str, value: Numbers, rows: int, above: Numbers = 0.0) -> np.ndarray:
    """A number, or one for each row, on the host -> array (rows,) float64. PerturbationError unless all are above `above`."""
    try:
        values = np.array(np.broadcast_to(value, rows), dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if not ((values > np.asarray(above)) & np.isfinite(values)).all():
        least = float(np.max(above))
        raise PerturbationError(
            f"{name} is {value}: it must be a number above {least:g}, or one for each of {rows} waves"
        )
    return values
