import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from spin_fairseq.modules import kmeans as module
from spin_fairseq.modules.kmeans import kmeans
from tests.fake_cuda import fake_cuda


def blobs(clusters=20, each=40, width=8, spread=1.0):
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((clusters, width))
    points = np.repeat(centres, each, 0) + spread * rng.standard_normal((clusters * each, width))
    return torch.from_numpy(points).float()


@pytest.mark.parametrize("number", [5, 20, 60])
def test_as_good_as_scikit_learns(number):
    points = blobs()
    centres, error = kmeans(points, number)
    expected = KMeans(number, n_init=3, max_iter=50, random_state=0).fit(points.numpy()).inertia_ / len(points)
    assert centres.shape == (number, 8) and error <= 1.03 * expected
    nearest = (points[:, None] - centres).square().sum(-1).min(1).values
    assert error == pytest.approx(nearest.mean().item(), rel=1e-4)


def test_distinct_points_are_their_own_centres():
    points = torch.eye(6)[torch.arange(60) % 6]
    centres, error = kmeans(points, 6, starts=1)
    assert error == 0 and torch.equal(centres[centres.argmax(1).argsort()], torch.eye(6))


def test_a_centre_without_points_takes_a_far_one():
    """It would stay where it is, or become NaN."""
    points = torch.cat([torch.zeros(10, 2), torch.tensor([[5.0, 0.0], [0.0, 6.0]])])
    centres, error = module._lloyd(points, torch.tensor([[0.0, 0.0], [100.0, 100.0], [100.0, 100.1]]), 10)
    assert error == 0 and torch.equal(centres, torch.tensor([[0.0, 0.0], [0.0, 6.0], [5.0, 0.0]]))


def test_more_centres_than_different_points():
    centres, error = kmeans(torch.ones(9, 3), 4)
    assert torch.equal(centres, torch.ones(4, 3)) and error == 0


def test_a_seed_repeats_itself_whatever_fits_in_memory(monkeypatch):
    points = blobs()
    first = kmeans(points, 20, seed=4)
    monkeypatch.setattr(module, "SCORES_AT_ONCE", 100)
    torch.testing.assert_close(kmeans(points, 20, seed=4), first)
    assert not torch.equal(kmeans(points, 20, seed=5)[0], first[0])


def test_on_a_cuda_device():
    """All of it but the two looks at the result, which wait: what is drawn on the CPU goes there."""
    with fake_cuda():
        points = torch.zeros(100, 8, device="cuda")
        centres = module._far_apart(points, 7, torch.Generator())
        labels, distances = module._assign(points, centres)
        assert centres.shape == (7, 8) and {x.device.type for x in (centres, labels, distances)} == {"cuda"}
