"""Dropout by random bits, beside torch's."""

import pytest
import torch

from spin_fairseq.encoders import Mode
from spin_fairseq.encoders.dropout import dropout
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
