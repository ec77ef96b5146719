"""Assignment, loss and gradients beside float64, in each precision, at every size, with scores at their extremes."""

import contextlib

import pytest
import torch
from tests.oracles.assignment_oracle import assignment_oracle, loss_oracle
from tests.oracles.sinkhorn_oracle import sinkhorn_oracle
from tests.oracles.swapped_prediction_oracle import swapped_prediction_oracle

from spin_fairseq.modules import swapped_prediction
from spin_fairseq.modules.prototypes import PrototypeHead
from spin_fairseq.modules.sinkhorn import sinkhorn
from spin_fairseq.modules.swapped_prediction import swapped_prediction_loss

NEAR = 1e-3
SIZES = [(2, 2), (2, 8192), (3, 5), (30, 8192), (700, 256), (100_000, 2)]
PRECISIONS = [
    (torch.float32, 0.01),
    (torch.bfloat16, 0.01),
    (torch.float16, 0.01),
    (torch.float32, 0.05),
]  # and epsilon


def one_hot(frames, prototypes):
    """Each frame is one prototype, and the opposite of all others."""
    scores = torch.full((frames, prototypes), -1.0)
    scores[torch.arange(frames), torch.arange(frames) % prototypes] = 1.0
    return scores


def one_for_all(frames, prototypes):
    """All frames are the same prototype."""
    scores = torch.full((frames, prototypes), -1.0)
    scores[:, -1] = 1.0
    return scores


def one_against_all(frames, prototypes):
    """All frames are the first prototype, but one, which is the last: whose column is one frame's alone."""
    scores = torch.full((frames, prototypes), -1.0)
    scores[:-1, 0] = scores[-1, -1] = 1.0
    return scores


def near_ties(frames, prototypes):
    """Scores next to 1 that differ by a step of bfloat16, or by none."""
    torch.manual_seed(0)
    return 1.0 - torch.randint(0, 3, (frames, prototypes)) / 128


def a_ladder(frames, prototypes):
    """From -1 to 1 along both axes, against each other: the columns have sums of all magnitudes."""
    return torch.linspace(-1, 1, frames)[:, None] * torch.linspace(1, -1, prototypes)


def extremes(frames, prototypes):
    """-1 or 1 at random."""
    torch.manual_seed(1)
    return torch.randint(0, 2, (frames, prototypes)) * 2.0 - 1.0


def any_cosine(frames, prototypes):
    torch.manual_seed(2)
    return torch.rand(frames, prototypes) * 2 - 1


def constant(value):
    def make(frames, prototypes):
        return torch.full((frames, prototypes), value)

    make.__name__ = f"all {value:g}"
    return make


PATTERNS = [
    constant(0.0), constant(1.0), constant(-1.0), one_hot, one_for_all, one_against_all, near_ties, a_ladder, extremes,
    any_cosine,
]  # fmt: skip


def assert_near(found, expected):
    assert torch.isfinite(found).all()
    assert (found.double() - expected).abs().max() < NEAR


@pytest.mark.parametrize("make", PATTERNS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("frames, prototypes", SIZES)
def test_assignment(frames, prototypes, make):
    scores = make(frames, prototypes)
    for dtype, epsilon in PRECISIONS:
        given = scores.to(dtype)
        assert_near(sinkhorn(given, epsilon), assignment_oracle(given, epsilon))


@pytest.mark.parametrize("make", PATTERNS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("frames, prototypes", [(2, 2), (10, 8192), (300, 256), (30_000, 3)])
def test_loss_and_its_gradient(frames, prototypes, make):
    """The gradient is the softmax minus the target: within NEAR of its largest possible value."""
    other = any_cosine(frames, prototypes)
    for dtype, epsilon in PRECISIONS:
        view_1, view_2 = (
            view.detach().to(dtype).requires_grad_() for view in (make(frames, prototypes), other.clone())
        )
        result = swapped_prediction_loss(view_1, view_2, epsilon=epsilon)
        expected = loss_oracle(view_1.detach(), view_2.detach(), epsilon)
        assert abs(result.loss.item() - expected) < NEAR * max(1.0, expected)
        assert all(torch.isfinite(value) for value in result)
        result.loss.backward()
        scale = 0.1 * frames * 2
        for view, target in ((view_1, view_2), (view_2, view_1)):
            softmax = (view.detach().double() / 0.1).softmax(1)
            expected = softmax - assignment_oracle(target.detach(), epsilon)
            step = torch.finfo(dtype).eps if dtype != torch.float32 else 0.0  # a gradient has the dtype of its tensor
            smallest = torch.finfo(dtype).smallest_normal * scale
            assert torch.isfinite(view.grad).all()
            assert ((view.grad.double() * scale - expected).abs() < NEAR + step * expected.abs() + smallest).all()


@pytest.mark.slow
@pytest.mark.parametrize("frames, prototypes", [(100_000, 256), (800, 8192)])
def test_the_largest_sizes(frames, prototypes):
    """Up to 0.1 GB of scores, and below ten times that at work."""
    torch.manual_seed(3)
    scores = torch.rand(frames, prototypes) * 2 - 1
    scores[: frames // 3] = scores[: frames // 3].sign()
    assert_near(sinkhorn(scores, 0.01), assignment_oracle(scores, 0.01))


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16", "amp float16", "amp bfloat16"])
def test_head_and_loss_under_each_precision(precision):
    """--fp16 and --bf16 have half-precision weights, --amp halves what enters a linear layer. All that follows the
    projection is as in float64."""
    torch.manual_seed(0)
    dtype = getattr(torch, precision.split()[-1])
    amp = precision.startswith("amp")
    head = PrototypeHead(64, [32], [200]).to(torch.float32 if amp else dtype)
    features = torch.randn(2, 400, 64).to(torch.float32 if amp else dtype)
    projected = []
    head.projection.register_forward_hook(lambda module, inputs, output: projected.append(output.detach()))
    with torch.autocast("cpu", dtype=dtype) if amp else contextlib.nullcontext():
        view_1, view_2 = head(features)[0]
        result = swapped_prediction_loss(view_1, view_2, epsilon=0.01)
    result.loss.backward()
    assert projected[0].dtype == dtype and view_1.dtype == result.loss.dtype == torch.float32

    embeddings = torch.nn.functional.normalize(projected[0].double(), dim=-1)
    prototypes = torch.nn.functional.normalize(head.prototypes[0].detach().double(), dim=-1)
    cosines = embeddings @ prototypes.t()
    assert_near(torch.stack([view_1, view_2]), cosines)
    for view, expected in zip((view_1, view_2), cosines):
        assert_near(sinkhorn(view, 0.01), assignment_oracle(expected, 0.01))
    expected = loss_oracle(*cosines, 0.01)
    assert abs(result.loss.item() - expected) < NEAR * expected
    # Statistics as well, of which a product under autocast would be in half precision.
    assert swapped_prediction_loss(view_1, view_2, epsilon=0.01)[1:] == result[1:]
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in head.parameters())


def test_gradcheck(monkeypatch):
    """Projection, norms, cosines and loss in float64, against differences. Targets have no gradient: they are held."""
    torch.manual_seed(0)
    head = PrototypeHead(6, [8, 5], [7, 4]).double()
    features = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    valid = torch.arange(4) < 3
    held = {}

    def once(scores, *options):
        key = scores.size(1), len(held) if len(held) < 4 else next(turns)
        return held.setdefault(key, sinkhorn(scores, *options))

    def loss(features, *parameters):
        nonlocal turns
        turns = iter((0, 1, 2, 3))
        return sum(swapped_prediction_loss(*scores, valid=valid).loss for scores in head(features))

    turns = iter(())
    monkeypatch.setattr(swapped_prediction, "sinkhorn", once)
    loss(features)
    assert len(held) == 4 and loss(features).dtype == torch.float64
    assert torch.autograd.gradcheck(loss, (features, *head.parameters()))


def test_gradcheck_of_hard_targets():
    """Which are the same for a small difference, and need not be held."""
    torch.manual_seed(0)
    views = [torch.rand(12, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda *views: swapped_prediction_loss(*views, hard_targets=True).loss, views)


@pytest.mark.parametrize("epsilon", [0.02, 0.5])
def test_the_matrices_equal_the_loops(epsilon):
    torch.manual_seed(0)
    view_1, view_2 = (torch.rand(20, 7, dtype=torch.float64) * 2 - 1 for _ in range(2))
    loops = torch.tensor(sinkhorn_oracle(view_1.tolist(), epsilon, 3), dtype=torch.float64)
    torch.testing.assert_close(assignment_oracle(view_1, epsilon), loops)
    expected = swapped_prediction_oracle(view_1.tolist(), view_2.tolist(), epsilon, 3, 0.1)[0]
    assert loss_oracle(view_1, view_2, epsilon).item() == pytest.approx(expected)
