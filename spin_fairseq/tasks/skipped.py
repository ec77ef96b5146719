"""Keeping count of bad utterances: each named once, and the run stopped when there are too many."""

import logging

import torch

from ..errors import AudioError

logger = logging.getLogger(__name__)

# The sum over several ranks lies on the device; a look at it waits for the device.
STEPS_BETWEEN_LOOKS = 20


class SkippedUtterances:
    """Bad utterances of a split in this epoch, those of all ranks together: then all ranks stop at the same step.

    total: utterances of the split; largest_share: of them that may be bad before the run stops.
    """

    def __init__(self, split, total, largest_share):
        self.split, self.total, self.largest_share = split, total, largest_share
        self.reasons = {}
        self._reset()

    def _reset(self):
        self._met = set()
        self._of_all_ranks = 0
        self._steps = 0

    def begin_epoch(self):
        """Look at what is left of the last epoch, and count anew: a file that answers again is no longer bad."""
        self._look()
        self._reset()

    def add(self, skipped):
        """skipped: [(index, reason)], as in a batch of this rank. -> how many are new in this epoch, for `count`."""
        new = {index: reason for index, reason in skipped if index not in self._met}
        self._met.update(new)
        for index, reason in new.items():
            if index not in self.reasons:
                logger.warning(f"skipped: {reason}")
            self.reasons[index] = reason
        return len(new)

    def count(self, new):
        """new: what `add` returned, summed over ranks: an int, or a tensor, which is looked at now and then.

        Raises AudioError, with this rank's list, when more than the share are bad.
        """
        self._of_all_ranks = self._of_all_ranks + new
        self._steps += 1
        if not torch.is_tensor(self._of_all_ranks) or self._steps % STEPS_BETWEEN_LOOKS == 0:
            self._look()

    def _look(self):
        bad = int(self._of_all_ranks)
        if bad > self.largest_share * self.total:
            lines = [self.reasons[index] for index in sorted(self._met)]
            if bad > len(lines):
                lines.append(f"{bad - len(lines)} on other ranks")
            listed = "\n  ".join(lines)
            raise AudioError(
                f"{bad} of the {self.total} utterances of split {self.split!r} are bad, more than "
                f"task.max_bad_share={self.largest_share} allows; mend the files or the manifest:\n  {listed}"
            )
