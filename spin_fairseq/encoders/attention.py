"""Attention: torch's, or on a CPU one head after another, so that scores stay in the cache.

torch's attention keeps dropout's masks and three matrices of scores for the gradient; this one keeps one. On a GPU padding
goes into the keys and not into a mask, with which torch takes none of its fast kernels.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from ..modules.products import linear, takes_onednn
from .dropout import kept_fraction, random_scales

Tensor = torch.Tensor

SCORES_AT_ONCE = 1 << 17  # of a head, where no gradient flows: they stay in the cache of a core
FEWEST_QUERIES = 32
PADDING_WIDTH = 8  # components that stand for padding: of a width that GPUs' kernels take, one is used
BIAS_MULTIPLE = 8
OF_PADDING = -6e4  # times the scale, a score whose weight is zero; float16 holds it


class GatedBias(NamedTuple):
    """What a WavLM adds to the scores: gate (rows, heads, queries, 1) times positions (heads, queries, keys)."""

    gate: Tensor
    positions: Tensor


def attention(
    query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0, bias: GatedBias | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """-> (rows, queries, heads * width). query: (rows, heads, queries, width); key and value: (rows, heads, keys, width).

    dropout: probability, of the weights. mask: (rows, keys) bool, True at keys that are padding, or None.
    """
    tensors = [query, key, value, *(bias or ())]
    if mask is None and _by_heads(query, key, dropout):
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return _RecordedAttention.apply(dropout, *(tensors if bias else [*tensors, None, None]))
        return _attend(dropout, *tensors)
    if mask is not None and bias is None and query.is_cuda:
        return _with_padding_in_keys(query, key, value, dropout, mask)
    added = None
    if mask is not None:
        added = query.new_zeros(mask.shape).masked_fill_(mask, -math.inf)[:, None, None]
    if bias is not None:
        added = _scores(bias, added, key.size(2)).to(query.dtype)
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=added, dropout_p=dropout)
    return found.transpose(1, 2).flatten(2)


def _scores(bias: GatedBias, added: Tensor | None, keys: int) -> Tensor:
    """The bias, plus what else is added, as one tensor: nothing else here is as large."""
    gate, positions = bias
    dtype = torch.result_type(gate, positions)
    if positions.is_cuda:  # rows that begin at multiples of 8: torch would copy the whole bias to lay it out so
        positions = F.pad(positions, (0, -keys % BIAS_MULTIPLE))
        added = None if added is None else F.pad(added, (0, -keys % BIAS_MULTIPLE))
    if added is None:
        return (gate * positions)[..., :keys]
    return torch.addcmul(added.to(dtype), gate.to(dtype), positions.to(dtype))[..., :keys]


def _with_padding_in_keys(query: Tensor, key: Tensor, value: Tensor, dropout: float, mask: Tensor) -> Tensor:
    """`attention` with one component more: 1 in each query, OF_PADDING in the keys of padding and 0 in the others."""
    one = F.pad(query.new_ones(1), (0, PADDING_WIDTH - 1))
    of_keys = F.pad((mask * OF_PADDING).to(key.dtype)[:, None, :, None], (0, PADDING_WIDTH - 1))
    found = F.scaled_dot_product_attention(
        torch.cat([query, one.expand(*query.shape[:3], -1)], -1),
        torch.cat([key, of_keys.expand(-1, key.size(1), -1, -1)], -1),
        F.pad(value, (0, PADDING_WIDTH)),
        dropout_p=dropout, scale=query.size(-1) ** -0.5,
    )  # fmt: skip
    return found[..., : value.size(-1)].transpose(1, 2).flatten(2)


def _by_heads(query: Tensor, key: Tensor, dropout: float) -> bool:
    if query.device.type != "cpu" or query.dtype != torch.float32 or not query.numel() or not key.numel():
        return False
    return takes_onednn(query[0, 0], key[0, 0]) or (dropout > 0.0 and not torch.jit.is_tracing())


def _weights(query: Tensor, key: Tensor, gate: Tensor | None, positions: Tensor | None) -> Tensor:
    """Of one head: query (queries, width), scaled -> (queries, keys), the softmax of the scores."""
    scores = linear(query, key)
    if gate is not None:
        scores.addcmul_(gate, positions)
    return torch.softmax(scores, -1, out=scores)


def _attend(
    dropout: float, query: Tensor, key: Tensor, value: Tensor, gate: Tensor | None = None,
    positions: Tensor | None = None, kept: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`attention` without a mask. kept: (rows, heads, queries, keys), for the softmax: negative where it is dropped."""
    rows, heads, queries, width = query.shape
    found = query.new_empty(rows, queries, heads, width)
    block = queries if kept is not None else max(FEWEST_QUERIES, SCORES_AT_ONCE // key.size(2))
    for row in range(rows):
        for head in range(heads):
            k, v = key[row, head].contiguous(), value[row, head].contiguous().t()
            for begin in range(0, queries, block):
                some = slice(begin, begin + block)
                biases = (None, None) if gate is None else (gate[row, head, some], positions[head, some])
                weights = _weights(query[row, head, some] * width**-0.5, k, *biases)
                if kept is not None:
                    kept[row, head] = weights
                if dropout > 0.0:
                    weights.mul_(random_scales(weights.shape, dropout))
                    if kept is not None:
                        torch.sub(weights.mul(2.0 * kept_fraction(dropout)), kept[row, head], out=kept[row, head])
                found[row, some, head] = linear(weights, v)
    return found.flatten(2)


class _RecordedAttention(torch.autograd.Function):
    """`_attend` with its gradients."""

    @staticmethod
    def forward(ctx, dropout, query, key, value, gate, positions):
        kept = query.new_empty(*query.shape[:3], key.size(2))
        found = _attend(dropout, query, key, value, gate, positions, kept)
        ctx.scale = 1.0 / kept_fraction(dropout)
        ctx.save_for_backward(query, key, value, gate, positions, kept)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        query, key, value, gate, positions, kept = ctx.saved_tensors
        scale = query.size(-1) ** -0.5
        # Laid out as the projections made them, (rows, frames, heads, width).
        of_query, of_key, of_value = (torch.empty_like(x.transpose(1, 2)).transpose(1, 2) for x in (query, key, value))
        of_gate = None if gate is None else torch.empty_like(gate)
        of_positions = torch.zeros_like(positions) if ctx.needs_input_grad[5] else None
        grad = grad.unflatten(-1, (query.size(1), -1))
        for row in range(query.size(0)):
            for head in range(query.size(1)):
                of_output, softmax = grad[row, :, head], kept[row, head]
                weights = softmax.clamp(min=0.0).mul_(ctx.scale)  # after dropout
                of_value[row, head] = linear(weights.t(), of_output.t())
                of_scores = weights.mul_(linear(of_output, value[row, head]))
                of_scores.addcmul_(softmax.abs(), of_scores.sum(-1, keepdim=True), value=-1.0)
                of_query[row, head] = linear(of_scores, key[row, head].t()).mul_(scale)
                of_key[row, head] = linear(of_scores.t(), query[row, head].t()).mul_(scale)
                if gate is not None:
                    of_gate[row, head] = (of_scores * positions[head]).sum(-1, keepdim=True)
                if of_positions is not None:
                    of_positions[head].addcmul_(of_scores, gate[row, head])
        return None, of_query, of_key, of_value, of_gate, of_positions
