"""R-Spin's auxiliary loss: the acoustic piece of each frame, predicted from either view (Chang and Glass 2024)."""

import torch
import torch.nn.functional as F

from .precision import at_least_float32

IGNORE = -100  # the target of a frame that has none


def pieces_loss(
    logits: torch.Tensor, targets: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cross-entropy of two views, and how often it is right.

    logits: (2B, frames, V), all first views, then all second ones. targets: (B, any number of frames) int64, of both views;
    the longer is cut to the shorter. valid: (2B, frames) bool; frames of padding, and those whose target is IGNORE, have no
    part. Nothing waits for the device.

    -> float32 scalars: the sum of cross-entropies over frames, and the number of right ones, each of both views by halves;
    and the number of frames that have a target, of one view.
    """
    frames = logits.size(1)
    targets = F.pad(targets[:, :frames], (0, max(0, frames - targets.size(1))), value=IGNORE)
    targets = targets.repeat(2, 1).masked_fill(~valid, IGNORE)
    flat = at_least_float32(logits).flatten(0, 1)
    loss = F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORE, reduction="sum")
    with torch.no_grad():
        right = (flat.argmax(1) == targets.flatten()).sum() / 2
        counted = (targets != IGNORE).sum() / 2
    return loss / 2, right, counted
