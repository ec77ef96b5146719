import pytest
import torch

from spin_fairseq.modules.pieces_loss import IGNORE, pieces_loss
from tests.fake_cuda import fake_cuda
from tests.oracles.pieces_oracle import mean_cross_entropy


@pytest.mark.parametrize("target_frames", [5, 6, 7, 9])
def test_the_loss_is_the_oracles(target_frames):
    """Guards against padding that counts, views with other targets, and targets a frame longer or shorter than the features."""
    torch.manual_seed(target_frames)
    logits = torch.randn(6, 7, 11)
    targets = torch.randint(0, 11, (3, target_frames))
    targets[1, 2], targets[2, 4:] = IGNORE, IGNORE
    valid = torch.ones(6, 7, dtype=torch.bool)
    valid[[1, 4], 5:] = False
    loss, right, counted = pieces_loss(logits, targets, valid)
    expected = mean_cross_entropy(logits.tolist(), targets.tolist(), valid.tolist())
    assert (loss / counted).item() == pytest.approx(expected[0], abs=1e-6)
    assert (right / counted).item() == pytest.approx(expected[1], abs=1e-6)


def test_half_precision_is_computed_in_float32():
    logits = torch.full((2, 3, 4), 40000.0, dtype=torch.float16)
    loss, _, counted = pieces_loss(logits, torch.zeros(1, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(
        3 * torch.log(torch.tensor(4.0)).item(), rel=1e-4
    )
    assert counted.item() == 3


def test_without_a_target_the_loss_is_zero_and_has_a_gradient():
    """Guards against a rank whose filler batch stops the others: NaN, or no gradient at all."""
    logits = torch.randn(2, 3, 4, requires_grad=True)
    loss, _, _ = pieces_loss(logits, torch.zeros(1, 0, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_nothing_waits_for_a_gpu():
    with fake_cuda():
        logits = torch.zeros(4, 7, 11, device="cuda")
        valid = torch.zeros(4, 7, dtype=torch.bool, device="cuda")
        for result in pieces_loss(logits, torch.zeros(2, 6, dtype=torch.int64, device="cuda"), valid):
            assert result.device.type == "cuda"
