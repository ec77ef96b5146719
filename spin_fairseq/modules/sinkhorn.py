"""Sinkhorn-Knopp assignment of frames to prototypes (Cuturi 2013; SwAV, Caron et al. 2020, eq. 3; Spin, section 2.2).

The assignment Q = diag(exp f) exp(S / epsilon) diag(exp g) is found by scaling columns and rows in turn. Here f and g are
kept as logarithms, so nothing overflows or vanishes whatever epsilon is: every `exp` is taken after the subtraction of
a maximum, and for the columns that maximum is taken over the frames of all ranks.
"""

from typing import Any

import torch
import torch.distributed as dist

from .precision import at_least_float32


def _several_ranks(group):
    return dist.is_available() and dist.is_initialized() and dist.get_world_size(group) > 1


def _logsumexp_over_frames(values, group):
    """log sum exp over the frames of all ranks. values: (N, K) -> (K,), finite even where no frame has weight."""
    smallest = torch.finfo(values.dtype).min
    if not _several_ranks(group):
        return torch.logsumexp(values, dim=0).clamp(min=smallest)
    maximum = values.amax(dim=0).clamp(min=smallest)
    dist.all_reduce(maximum, dist.ReduceOp.MAX, group=group)
    total = (values - maximum).exp().sum(dim=0)
    dist.all_reduce(total, group=group)
    return (total.log() + maximum).clamp(min=smallest)


@torch.no_grad()
def sinkhorn(
    scores: torch.Tensor, epsilon: float = 0.02, iterations: int = 3, valid: torch.Tensor | None = None,
    group: Any = None,
) -> torch.Tensor:  # fmt: skip
    """Soft assignments that use every prototype equally often.

    scores: (N, K), cosine of each frame with each prototype; any float dtype, computed in float32 (float64 stays).
    epsilon: weight of the entropy; smaller is harder.
    iterations: how often columns (prototypes) and rows (frames) are scaled; the rows come last.
    valid: (N,) bool, or None; frames that are not valid (padding) have no weight, and rows of their own in the result.
    group: the process group whose ranks hold the frames; None: torch's default group, if there is one.

    Every valid frame of every rank has the same weight, however many frames a rank holds.
    Returns (N, K) float32 (float64 for float64); rows sum to 1.
    """
    logits = at_least_float32(scores) / epsilon
    row_scale = logits.new_zeros(logits.size(0), 1)
    column_scale = logits.new_zeros(logits.size(1))
    weight = 0.0 if valid is None else torch.where(valid, 0.0, -torch.inf).to(logits.dtype).unsqueeze(1)
    for _ in range(iterations):
        column_scale = -_logsumexp_over_frames(logits + row_scale + weight, group)
        row_scale = -torch.logsumexp(logits + column_scale, dim=1, keepdim=True)
    return (logits + column_scale).softmax(dim=1)
