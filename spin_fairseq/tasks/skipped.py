"""Count bad utterances: log each of them once, and stop the run when there are too many."""

import logging
from collections.abc import Sequence

import torch

from ..errors import AudioError

logger = logging.getLogger(__name__)

# The sum over several ranks is on the device, and reading it waits for the device: it is read once in so many steps.
STEPS_BETWEEN_LOOKS = 20


class SkippedUtterances:
    """Bad utterances of a split in this epoch, of all ranks together, so that all ranks stop at the same step.

    total: utterances of the split; largest_fraction: the fraction of them that may be bad before the run stops.
    """

    def __init__(self, split: str, total: int, largest_fraction: float):
        self.split, self.total, self.largest_fraction = split, total, largest_fraction
        self.reasons = {}
        self._reset()

    def _reset(self):
        self._met = set()
        self._of_all_ranks = 0
        self._steps = 0

    def begin_epoch(self) -> None:
        """Check the count of the last epoch, and start again from zero: a file may be readable by now."""
        self._look()
        self._reset()

    def add(self, skipped: Sequence[tuple[int, str]]) -> int:
        """Log bad utterances that were not logged before. skipped: [(index, reason)] of a batch of this rank.

        -> how many of them are new in this epoch; their sum over ranks is for `count`.
        """
        new = {index: reason for index, reason in skipped if index not in self._met}
        self._met.update(new)
        for index, reason in new.items():
            if index not in self.reasons:
                logger.warning(f"skipped: {reason}")
            self.reasons[index] = reason
        return len(new)

    def count(self, new: int | torch.Tensor) -> None:
        """Add to the count, and stop the run if too many are bad.

        new: what `add` returned, summed over ranks: an int, or a tensor, which is read every STEPS_BETWEEN_LOOKS steps.
        Raises AudioError with the list of this rank.
        """
        self._of_all_ranks = self._of_all_ranks + new
        self._steps += 1
        if not torch.is_tensor(self._of_all_ranks) or self._steps % STEPS_BETWEEN_LOOKS == 0:
            self._look()

    def _look(self):
        bad = int(self._of_all_ranks)
        if bad > self.largest_fraction * self.total:
            lines = [self.reasons[index] for index in sorted(self._met)]
            if bad > len(lines):
                lines.append(f"{bad - len(lines)} on other ranks")
            listed = "\n  ".join(lines)
            raise AudioError(
                f"{bad} of the {self.total} utterances of split {self.split!r} are bad, more than "
                f"task.max_bad_share={self.largest_fraction} allows; mend the files or the manifest:\n  {listed}"
            )
