import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles.sinkhorn_oracle import sinkhorn_oracle

from spin_fairseq.modules.sinkhorn import sinkhorn
from tests.gloo_ranks import on_ranks, sinkhorn_in_a_group


def cosines(frames, prototypes, seed, spread=1.0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-spread, spread, (frames, prototypes)))


@settings(deadline=None, max_examples=60)
@given(
    frames=st.integers(1, 40),
    prototypes=st.integers(2, 20),
    epsilon=st.floats(0.01, 1.0),
    iterations=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_textbook(frames, prototypes, epsilon, iterations, seed):
    scores = cosines(frames, prototypes, seed)
    expected = torch.tensor(sinkhorn_oracle(scores.tolist(), epsilon, iterations), dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores, epsilon, iterations), expected, rtol=1e-7, atol=1e-10)
    single = sinkhorn(scores.float(), epsilon, iterations)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-3, atol=2e-5)


def test_the_recipe_is_the_default():
    scores = cosines(30, 8, 0)
    assert torch.equal(sinkhorn(scores), sinkhorn(scores, epsilon=0.02, iterations=3))
    assert not torch.equal(sinkhorn(scores), sinkhorn(scores, iterations=4))


def test_many_iterations_use_every_prototype_equally():
    assignment = sinkhorn(cosines(60, 6, 1), epsilon=0.1, iterations=300)
    torch.testing.assert_close(assignment.sum(0), torch.full((6,), 10.0, dtype=torch.float64))
    torch.testing.assert_close(assignment.sum(1), torch.ones(60, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("epsilon", [1e-4, 0.01])
@pytest.mark.parametrize("score", [-1.0, 1.0])
def test_extreme_scores(dtype, epsilon, score):
    same = sinkhorn(torch.full((50, 4), score, dtype=dtype), epsilon)
    assert same.dtype == torch.float32
    torch.testing.assert_close(same, torch.full((50, 4), 0.25))

    one_prototype = torch.full((50, 4), -score, dtype=dtype)
    one_prototype[:, 2] = score  # every frame likes or dislikes the same one: all stay alike
    torch.testing.assert_close(sinkhorn(one_prototype, epsilon), torch.full((50, 4), 0.25))

    opposite = torch.full((4, 4), -1.0, dtype=dtype).fill_diagonal_(1.0)
    torch.testing.assert_close(sinkhorn(opposite, epsilon), torch.eye(4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scores_are_computed_in_single(dtype):
    scores = cosines(40, 12, 2).to(dtype)
    result = sinkhorn(scores, 0.01)
    assert torch.equal(result, sinkhorn(scores.float(), 0.01))
    torch.testing.assert_close(result.sum(1), torch.ones(40))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), epsilon=st.floats(0.01, 1.0), share=st.floats(0.1, 1.0))
def test_invalid_frames_might_as_well_be_absent(seed, epsilon, share):
    scores = cosines(30, 7, seed).float()
    valid = torch.from_numpy(np.random.default_rng(seed).random(30) < share)
    valid[0] = True
    result = sinkhorn(scores, epsilon, valid=valid)
    torch.testing.assert_close(result[valid], sinkhorn(scores[valid], epsilon), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.sum(1), torch.ones(30))


def test_no_valid_frame_at_all():
    result = sinkhorn(cosines(5, 3, 0), valid=torch.zeros(5, dtype=torch.bool))
    assert torch.isfinite(result).all()


def test_has_no_gradient_and_leaves_its_input():
    scores = cosines(10, 4, 0).requires_grad_()
    before = scores.detach().clone()
    assert not sinkhorn(scores).requires_grad
    assert torch.equal(scores.detach(), before)


def test_the_frames_are_those_of_a_group_of_ranks(tmp_path):
    """It reduced over all ranks there are, beside fairseq, which has a group of its own: under NCCL the two may hang."""
    scores = cosines(12, 5, seed=3)
    first, nothing, second = on_ranks(3, sinkhorn_in_a_group, tmp_path / "ranks", scores, [0, 2])
    assert nothing is None
    torch.testing.assert_close(torch.cat([first, second]), sinkhorn(scores))
