"""Swapped prediction: each view's Sinkhorn assignment is the target of the other (SwAV; Spin, eq. 1-3)."""

from typing import Any, NamedTuple

import torch

from .precision import at_least_float32
from .sinkhorn import sinkhorn


class SwappedPrediction(NamedTuple):
    """Float32 scalars (float64 for float64), on the device of the scores. Only `loss` has a gradient."""

    loss: torch.Tensor  # mean cross-entropy over valid frames and both views, nats
    accuracy: torch.Tensor  # fraction of frames whose best prototype is the other view's best target
    # exp of the entropy of how often each prototype is the best one; K when all are used equally
    code_perplexity: torch.Tensor
    probability_perplexity: torch.Tensor  # the same of the mean softmax


def _perplexity(probabilities):
    return torch.exp(-torch.special.xlogy(probabilities, probabilities).sum())


def swapped_prediction_loss(
    scores_1: torch.Tensor, scores_2: torch.Tensor, *, epsilon: float = 0.02, iterations: int = 3,
    temperature: float = 0.1, target_mix: float = 1.0, hard_targets: bool = False, valid: torch.Tensor | None = None,
    group: Any = None,
) -> SwappedPrediction:  # fmt: skip
    """The loss of Spin over two views of the same frames, and what shows a collapse.

    scores_1, scores_2: (N, K) cosines of the frames of view 1 and view 2 with the prototypes, before the temperature.
    epsilon, iterations: of `sinkhorn`.
    target_mix: weight of a view's own scores in the scores that its targets are made of; the rest is the other view's.
    hard_targets: take the best prototype of a target instead of its distribution.
    valid: (N,) bool or None; frames of padding have no part in targets, loss or statistics.
    group: as in `sinkhorn`.

    With several ranks the targets see the frames of all ranks; the mean is over this rank's frames.
    Returns SwappedPrediction.
    """
    scores_1, scores_2 = at_least_float32(scores_1), at_least_float32(scores_2)
    weight = scores_1.new_ones(len(scores_1)) if valid is None else valid.to(scores_1.dtype)
    weight = weight / weight.sum().clamp(min=1)

    with torch.no_grad():
        mixed_1 = target_mix * scores_1 + (1 - target_mix) * scores_2
        mixed_2 = target_mix * scores_2 + (1 - target_mix) * scores_1
        targets_1 = sinkhorn(mixed_1, epsilon, iterations, valid, group)
        targets_2 = sinkhorn(mixed_2, epsilon, iterations, valid, group)
        best_1, best_2 = targets_1.argmax(1), targets_2.argmax(1)

    log_p1 = (scores_1 / temperature).log_softmax(1)
    log_p2 = (scores_2 / temperature).log_softmax(1)
    if hard_targets:
        agreement = log_p2.gather(1, best_1[:, None]) + log_p1.gather(1, best_2[:, None])
    else:
        agreement = targets_1 * log_p2 + targets_2 * log_p1
    loss = -0.5 * (agreement.sum(1) * weight).sum()

    with torch.no_grad():
        code_1, code_2 = scores_1.argmax(1), scores_2.argmax(1)
        hits = (code_1 == best_2).to(weight.dtype) + (code_2 == best_1).to(weight.dtype)
        used = scores_1.new_zeros(scores_1.size(1))
        used.scatter_add_(0, code_1, weight).scatter_add_(0, code_2, weight)
        # It would take the product in half precision
        with torch.autocast(device_type=weight.device.type, enabled=False):
            mean_probability = weight @ (log_p1.exp() + log_p2.exp())
        return SwappedPrediction(
            loss, 0.5 * (hits * weight).sum(), _perplexity(0.5 * used), _perplexity(0.5 * mean_probability)
        )
