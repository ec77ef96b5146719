"""Dropout at a fifth of torch's cost on a CPU, where drawing its random numbers takes longer than the layer around it."""

import math

import torch
import torch.nn.functional as F

Tensor = torch.Tensor

_LEVELS = 1 << 16
_CACHED = 1 << 19  # numbers that stay in the cache of a core


def _random_int16(shape: torch.Size) -> Tensor:
    """Uniform over all int16, by torch's generator: four of them out of each 64 random bits."""
    size = math.prod(shape)
    bits = torch.empty((size + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    return bits.view(torch.int16)[:size].view(shape)


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """As F.dropout. On a CPU the probability is rounded to 1 / 65536, and the scale is that of the rounded one.

    Without a graph, x may be changed in place.
    """
    if not training or probability == 0.0:
        return x
    lowest = round(probability * _LEVELS)
    if x.device.type != "cpu" or x.dtype != torch.float32 or not 0 < lowest < _LEVELS:
        return F.dropout(x, probability, training)
    scale = _LEVELS / (_LEVELS - lowest)
    lowest -= _LEVELS // 2
    bits = _random_int16(x.shape)
    if torch.is_grad_enabled() and x.requires_grad:
        return (x * (bits >= lowest)).mul_(scale)  # of the mask, a byte for each number is kept for the gradient
    # The same in floats, which is twice as fast: 0 below the lowest that stays, and the scale from there on.
    return x.mul_(bits.float().sub_(lowest - 1).mul_(scale).clamp_(0.0, scale))


def dropped_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, probability: float) -> Tensor:
    """scaled_dot_product_attention with dropout. query: (rows, heads, queries, width), key, value: (rows, heads, keys, width).

    bias: what is added to the scores, or None.
    """
    if query.device.type != "cpu" or query.dtype != torch.float32:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=probability)
    recorded = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (query, key, value, bias))
    rows, heads, queries, width = query.shape
    block = queries if recorded else max(1, _CACHED // (rows * heads * key.size(2)))
    found = []
    for begin in range(0, queries, block):
        scores = (query[:, :, begin : begin + block] * width**-0.5) @ key.transpose(2, 3)
        if bias is not None:
            scores = scores + (bias if bias.size(2) == 1 else bias[:, :, begin : begin + block])
        found.append(dropout(scores.softmax(-1), probability, True) @ value)
    return found[0] if len(found) == 1 else torch.cat(found, 2)
