"""Dropout by random bits, beside torch's."""

import pytest
import torch
import torch.nn.functional as F

from spin_fairseq.encoders import Mode
from spin_fairseq.encoders import dropout as module
from spin_fairseq.encoders.dropout import dropout, dropped_attention
from tests.small_wavlm import small_wavlm

each_path = pytest.mark.parametrize("recorded", [False, True], ids=["no graph", "graph"])


@each_path
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_rate_scale_and_independence(recorded, probability):
    """Guards against a rate that is off, bits that repeat or depend on their neighbours, and a scale of another rate."""
    torch.manual_seed(0)
    x = torch.ones(1001, 999, requires_grad=recorded)
    y = dropout(x * 1.0, probability, True)
    kept = (y != 0).float()
    assert abs(kept.mean().item() - (1 - probability)) < 5 * (probability * (1 - probability) / x.numel()) ** 0.5 + 1e-5
    torch.testing.assert_close(y.unique(), torch.tensor([0.0, 1 / (1 - probability)]), rtol=1e-4, atol=0.0)
    centred = kept - kept.mean()
    for lag in (1, 2, 3, 4, 5, 8):  # four numbers share 64 bits
        together = (centred[:, lag:] * centred[:, :-lag]).mean() / centred.square().mean()
        assert together.abs() < 0.01
    assert (kept.mean(0) > 0).all()
    if recorded:
        y.sum().backward()
        torch.testing.assert_close(x.grad, y.detach())


def test_torchs_generator_gives_the_masks():
    """Guards against masks that a seed does not repeat, or that two calls share, as the two views would."""
    x = torch.ones(50, 70)
    torch.manual_seed(1)
    first, second = dropout(x.clone(), 0.1, True), dropout(x.clone(), 0.1, True)
    torch.manual_seed(1)
    assert torch.equal(dropout(x.clone(), 0.1, True), first) and not torch.equal(first, second)
    assert dropout(x, 0.1, False) is x and dropout(x, 0.0, True) is x
    assert not dropout(x, 1.0, True).any()


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("cached", [1, 1 << 19])
def test_attention_is_softmax_dropout_and_product(monkeypatch, biased, cached):
    """Guards against a wrong scale, a bias of other queries, and a mask that is not of the weights."""
    monkeypatch.setattr(module, "_CACHED", cached)
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 3, 17, 8, generator=generator)
    bias = torch.randn(2, 3, 17, 17, generator=generator) if biased else None
    torch.manual_seed(3)
    found = dropped_attention(query, key, value, bias, 0.3)
    torch.manual_seed(3)
    scores = query @ key.transpose(2, 3) / 8**0.5 + (bias if biased else 0.0)
    rows = scores.softmax(-1).split(1 if cached == 1 else 17, 2)
    expected = torch.cat([dropout(row.clone(), 0.3, True) for row in rows], 2) @ value
    torch.testing.assert_close(found, expected)
    torch.manual_seed(3)
    few = sum(dropped_attention(query, key, value, bias, 0.3) for _ in range(2000)) / 2000
    torch.testing.assert_close(
        few, F.scaled_dot_product_attention(query, key, value, attn_mask=bias), rtol=0.1, atol=0.08
    )


def test_gradients_of_attention_go_through_the_mask():
    """Guards against a mask that the gradient does not know."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 9, 4, requires_grad=True) for _ in range(3))
    torch.manual_seed(1)
    dropped_attention(query, key, value, None, 0.4).square().sum().backward()
    found = [x.grad.clone() for x in (query, key, value)]
    torch.manual_seed(1)
    mask = dropout(torch.ones(1, 2, 9, 9), 0.4, True)
    weights = (query @ key.transpose(2, 3) / 2.0).softmax(-1) * mask
    expected = torch.autograd.grad((weights @ value).square().sum(), (query, key, value))
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("packed", [True, False])
@torch.no_grad()
def test_rows_alike_get_masks_of_their_own(packed):
    """Guards against two views of one utterance that are dropped out alike."""
    encoder = small_wavlm().train()
    source = torch.randn(1, 6000).expand(2, -1)
    mask = torch.zeros(2, 6000, dtype=torch.bool)
    mask[:, 5000:] = True
    features = encoder.encode(source, mask, mode=Mode(packed=packed)).features
    assert not torch.allclose(features[0], features[1], atol=0.01)
