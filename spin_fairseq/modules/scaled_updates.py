"""Learning rates that differ between weights, for any optimiser whose update is proportional to the learning rate."""

from collections.abc import Sequence

import torch

from ..errors import ConfigError

Tensor = torch.Tensor


def scale_updates(optimizer: torch.optim.Optimizer, factors: Sequence[tuple[int, float]]) -> None:
    """From now on, multiply what each step of `optimizer` changes in a weight by the weight's factor.

    factors: (number of elements, factor) of each weight, in the order in which the optimiser was given them. It may hold
    the weights one by one, or copies of all of them in one tensor, as in fairseq's half-precision training; weights behind those of
    `factors` keep their updates. The optimiser's state and its learning rate stay what they are without factors. Adam's, AdamW's and
    SGD's updates are proportional to the learning rate, weight decay included, so that a factor is one of the learning rate.

    Raises ConfigError for an optimiser that holds other weights than these.
    """
    held = [weight for group in getattr(optimizer, "param_groups", []) for weight in group["params"]]
    pieces = [(weight, piece, factor) for weight, piece, factor in _pieces(held, factors) if factor != 1]
    before: list[Tensor] = []

    def keep(*_):
        before[:] = [_data(weight, piece).clone() for weight, piece, _ in pieces]

    def scale(*_):
        with torch.no_grad():
            for (weight, piece, factor), start in zip(pieces, before):
                now = _data(weight, piece)
                now.copy_(start.lerp(now, factor))
        before.clear()

    optimizer.register_step_pre_hook(keep)
    optimizer.register_step_post_hook(scale)


def _data(weight: Tensor, piece: slice | None) -> Tensor:
    return weight.detach() if piece is None else weight.detach()[piece]


def _pieces(held: Sequence[Tensor], factors: Sequence[tuple[int, float]]):
    """-> (tensor of the optimiser, which part of it or None for all, factor) of each weight. Raises ConfigError."""
    found, index, offset = [], 0, 0
    for elements, factor in factors:
        room = held[index].numel() - offset if index < len(held) else 0
        whole = offset == 0 and room == elements
        if elements > room or not (whole or held[index].dim() == 1):
            raise ConfigError(
                "model.layer_lr_decay is not 1, and the optimiser does not hold the model's weights one by one or in one piece: "
                "choose optimizer._name=adam, without sharding"
            )
        found.append((held[index], None if whole else slice(offset, offset + elements), factor))
        offset += elements
        if offset == held[index].numel():
            index, offset = index + 1, 0
    return found
