"""Attention head by head, and its gradients, beside the formula with dropout's own masks."""

import pytest
import torch
import torch.nn.functional as F

from spin_fairseq.encoders import attention as module
from spin_fairseq.encoders.attention import GatedBias, attention
from spin_fairseq.encoders.dropout import random_scales
from spin_fairseq.modules import products

ROWS, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 17, 13, 8


@pytest.fixture(params=["oneDNN where it is faster", "the usual library"], autouse=True)
def library(request, monkeypatch):
    monkeypatch.setattr(products, "FEWEST", 0 if request.param.startswith("oneDNN") else 1 << 60)


@pytest.fixture
def tensors():
    """Query, key, value, gate and positions, laid out as projections make them."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(ROWS, frames, HEADS, WIDTH, generator=generator).transpose(1, 2) for frames in (QUERIES, KEYS, KEYS)
    )
    gate = torch.randn(ROWS, HEADS, QUERIES, 1, generator=generator)
    positions = torch.randn(HEADS, QUERIES, KEYS, generator=generator)
    return [tensor.requires_grad_() for tensor in (query, key, value, gate, positions)]


def formula(scales, query, key, value, gate=None, positions=None):
    scores = query @ key.transpose(2, 3) / WIDTH**0.5
    if gate is not None:
        scores = scores + gate * positions
    return (scores.softmax(-1) * scales @ value).transpose(1, 2).flatten(2)


def drawn(dropout, block=QUERIES):
    """The factors that dropout draws for one head after another, a block of queries at a time."""
    sizes = [len(some) for some in torch.arange(QUERIES).split(block)]
    heads = [
        torch.cat([random_scales(torch.Size((size, KEYS)), dropout) for size in sizes]) for _ in range(ROWS * HEADS)
    ]
    return torch.stack(heads).view(ROWS, HEADS, QUERIES, KEYS)


def given(tensors, biased):
    return tensors if biased else tensors[:3]


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("block", [4, QUERIES])
@torch.no_grad()
def test_it_is_softmax_dropout_and_product(tensors, biased, dropout, block, monkeypatch):
    """Guards against a wrong scale, a bias of other queries, and a mask that is not of the weights."""
    monkeypatch.setattr(module, "SCORES_AT_ONCE", block * KEYS)
    monkeypatch.setattr(module, "FEWEST_QUERIES", 1)
    query, key, value, *bias = given(tensors, biased)
    torch.manual_seed(3)
    found = attention(query, key, value, dropout, GatedBias(*bias) if biased else None)
    torch.manual_seed(3)
    scales = drawn(dropout, block) if dropout else 1.0
    torch.testing.assert_close(found, formula(scales, query, key, value, *bias))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_go_through_the_mask(tensors, biased, dropout):
    """Guards against a mask that the gradient does not know, and a gradient of the wrong head, row or scale."""
    query, key, value, *bias = given(tensors, biased)
    torch.manual_seed(3)
    found = attention(query, key, value, dropout, GatedBias(*bias) if biased else None)
    torch.manual_seed(3)
    expected = formula(drawn(dropout) if dropout else 1.0, query, key, value, *bias)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    for one, other in zip(
        torch.autograd.grad((found * weight).sum(), given(tensors, biased)),
        torch.autograd.grad((expected * weight).sum(), given(tensors, biased)),
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_mean_over_masks_is_attention_without_dropout(tensors):
    """Guards against weights whose expectation dropout changes."""
    query, key, value, gate, positions = tensors
    torch.manual_seed(3)
    found = sum(attention(query, key, value, 0.3, GatedBias(gate, positions)) for _ in range(300)) / 300
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=gate * positions)
    torch.testing.assert_close(found, expected.transpose(1, 2).flatten(2), rtol=0.1, atol=0.2)


@torch.no_grad()
def test_keys_that_are_padding_have_no_weight(tensors):
    """Guards against padding that is attended to, with and without a bias."""
    query, key, value, gate, positions = tensors
    mask = torch.arange(KEYS) >= torch.tensor([KEYS, 5])[:, None]
    for bias in (None, GatedBias(gate, positions)):
        found = attention(query, key, value, 0.0, bias, mask)
        few = None if bias is None else GatedBias(gate[1:], positions[:, :, :5])
        alone = attention(query[1:], key[1:, :, :5], value[1:, :, :5], 0.0, few)
        torch.testing.assert_close(found[1:], alone)
