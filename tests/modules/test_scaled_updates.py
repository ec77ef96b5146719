import pytest
import torch

from spin_fairseq.errors import ConfigError
from spin_fairseq.modules.scaled_updates import scale_updates

FACTORS = [0.25, 1.0, 0.5]


def weights():
    torch.manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in ((4, 3), (5,), (2, 2))]


def train(parameters, optimizer, steps=5):
    """Steps on a loss whose gradients differ between weights and steps."""
    for step in range(steps):
        optimizer.zero_grad()
        sum(((parameter - step) ** 2).sum() * (index + 1) for index, parameter in enumerate(parameters)).backward()
        optimizer.step()


@pytest.mark.parametrize(
    "kind, options", [(torch.optim.AdamW, {"weight_decay": 0.1}), (torch.optim.SGD, {"momentum": 0.9})]
)
def test_a_factor_is_one_of_the_learning_rate(kind, options):
    """Guards against a factor that acts on gradients, which Adam does not notice, or that spares the weight decay."""
    found, expected = weights(), weights()
    optimizer = kind(found, lr=0.1, **options)
    scale_updates(optimizer, [(p.numel(), factor) for p, factor in zip(found, FACTORS)])
    train(found, optimizer)
    # AdamW decays all weights by lr * weight_decay of their group, as each would alone
    train(expected, kind([{"params": [p], "lr": 0.1 * factor} for p, factor in zip(expected, FACTORS)], **options))
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_weights_in_one_piece_are_scaled_like_single_ones():
    """fairseq's half-precision training holds float32 copies of all weights in one tensor."""
    single = weights()
    flat = torch.nn.Parameter(torch.cat([p.detach().reshape(-1) for p in single]))
    optimizers = [torch.optim.Adam(single, lr=0.1), torch.optim.Adam([flat], lr=0.1)]
    for optimizer in optimizers:
        scale_updates(optimizer, [(p.numel(), factor) for p, factor in zip(single, FACTORS)])
    for _ in range(3):
        for p in single:
            p.grad = torch.cos(p.detach() * 7)
        flat.grad = torch.cos(flat.detach() * 7)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(flat.detach(), torch.cat([p.detach().reshape(-1) for p in single]), rtol=0, atol=0)


def test_weights_without_a_factor_take_whole_steps():
    """A criterion's own weights come behind the model's."""
    found, expected = weights(), weights()
    optimizer = torch.optim.SGD(found, lr=0.1)
    scale_updates(optimizer, [(found[0].numel(), 0.5)])
    train(found, optimizer, 1)
    train(expected, torch.optim.SGD(expected, lr=0.1), 1)
    assert torch.equal(found[1], expected[1]) and torch.equal(found[2], expected[2])
    assert not torch.equal(found[0], expected[0])


@pytest.mark.parametrize("sizes", [[13], [12, 5, 4, 1], [6, 6]])
def test_other_weights_than_the_optimisers_are_refused(sizes):
    """A part of the weights, as sharded training has it, would be scaled by its neighbours' factors."""
    with pytest.raises(ConfigError, match="model.layer_lr_decay is not 1"):
        scale_updates(torch.optim.SGD(weights(), lr=0.1), [(size, 0.5) for size in sizes])
