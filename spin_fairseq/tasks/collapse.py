"""Warn of a collapse: only few prototypes are in use, for many updates in a row."""

import logging
import math

import torch

logger = logging.getLogger(__name__)


class CollapseWatch:
    """Warns when a codebook's perplexity, which is about the number of prototypes in use, was low for `updates` updates in a row.

    Perplexities stay on the device; they are read, and the device waited for, once in `updates` updates.

    fraction: a perplexity is low below this fraction of the codebook's size; 0: no warning. updates: between two checks.
    """

    def __init__(self, fraction: float, updates: int):
        self.fraction, self.updates = fraction, updates
        self._seen = {}

    def note(self, name: str, perplexity: float | torch.Tensor, size: int) -> None:
        """perplexity: of one update, number or tensor of one element; size: prototypes of the codebook `name`."""
        seen = self._seen.setdefault(name, [])
        seen.append(perplexity)
        if len(seen) < self.updates:
            return
        highest = float(torch.stack([torch.as_tensor(value) for value in seen]).max())
        seen.clear()
        if highest < self.fraction * size:
            # Lower epsilon: as SwAV's authors advise (Caron et al., 2020, the notes of their repository).
            logger.warning(
                f"collapse: {name} stayed at or under {highest:.1f} for {self.updates} updates, less than "
                f"task.collapse_share={self.fraction} of {size} prototypes. Few of them are in use. When the loss is near "
                f"ln {size} = {math.log(size):.2f}, targets are too even: lower criterion.epsilon or set "
                "criterion.hard_targets. Otherwise lower optimization.lr or warm up longer, raise dataset.max_tokens "
                "(a batch's frames are spread over all prototypes), take smaller model.codebook_sizes, freeze more layers, or hold "
                "them by R-Spin's second loss (task.pieces)"
            )
