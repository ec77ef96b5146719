"""How an encoder computes: packed or padded, in blocks or whole."""

from dataclasses import dataclass, replace

import torch

from .layout import Progress
from .waves import WaveStatistics

FRAMES_ON_A_GPU = 1 << 15
SAMPLES_TOGETHER = 1 << 24  # 17 minutes: the first convolution then makes 7 GB of float32


@dataclass(frozen=True)
class Mode:
    """How an encoder computes. What it computes is the same, to rounding.

    packed: frames of a batch behind each other, without padding; or padded rows. None: packed on a CPU alone, since
    packing asks the device for the lengths of the rows, and waits for them.
    block: frames that are computed at a time where no gradient flows. Memory then grows with the length of an utterance
    and not with its square; on a CPU blocks stay in the cache, and a GPU takes FRAMES_ON_A_GPU at least, since it waits for
    each block to be launched. None: all at once, as an export wants it.
    together: rows go through the convolutions together, padded; or one by one. None: together on a GPU, as long as a batch
    has no more than SAMPLES_TOGETHER samples, and wherever gradients of the convolutions are recorded.
    statistics: `SpeechEncoder.statistics` of a wave that the rows are pieces of; None: each row is a wave of its own.
    progress: called with the fraction of the work that was done since it was called before, where frames are computed in
    blocks as often as there are blocks; the fractions sum to 1. It may be called in any thread that computes.
    """

    packed: bool | None = None
    block: int | None = 500
    statistics: WaveStatistics | None = None
    together: bool | None = None
    progress: Progress = None

    def on(self, device: torch.device, samples: int) -> "Mode":
        """With its open choices made, for a batch of so many samples."""
        cpu = device.type == "cpu"
        return replace(
            self,
            packed=cpu if self.packed is None else self.packed,
            block=self.block if cpu or self.block is None else max(self.block, FRAMES_ON_A_GPU),
            together=(not cpu and samples <= SAMPLES_TOGETHER) if self.together is None else self.together,
        )


AS_USUAL = Mode()
AS_EXPORTED = Mode(packed=False, block=None)
