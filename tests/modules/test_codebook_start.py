import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from spin_fairseq.errors import ConfigError
from spin_fairseq.modules import codebook_start
from spin_fairseq.modules.codebook_start import start_from_kmeans
from spin_fairseq.modules.prototypes import PrototypeHead


def clustered_frames(rng, clusters=12, each=40, width=16):
    """Frames around far-away centres, and which centre each belongs to."""
    centres = 5 * rng.standard_normal((clusters, width)) + 3
    labels = np.repeat(np.arange(clusters), each)
    return torch.from_numpy(centres[labels] + 0.1 * rng.standard_normal((len(labels), width))), labels


def test_the_projection_is_that_of_the_principal_components():
    frames, _ = clustered_frames(np.random.default_rng(1))
    head = PrototypeHead(16, [5], [12])
    start_from_kmeans(head, frames)
    ours = head.projection(frames.float()).detach().numpy()
    expected = PCA(5).fit_transform(frames.numpy())
    signs = np.sign((ours * expected).sum(0))
    length = np.linalg.norm(expected, axis=1).mean()
    np.testing.assert_allclose(ours, signs * expected / length, atol=1e-4)
    assert np.linalg.norm(ours, axis=1).mean() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("as_on_a_device", [False, True])
def test_units_are_the_clusters_that_are_there(as_on_a_device, monkeypatch):
    if as_on_a_device:
        monkeypatch.setattr(codebook_start, "_centres_by_scikit_learn", codebook_start._centres)
    frames, labels = clustered_frames(np.random.default_rng(2), clusters=6)
    head = PrototypeHead(16, [8], [6])
    start_from_kmeans(head, frames, seed=3)
    units = head(frames.float())[0].argmax(-1).numpy()
    assert len({(label, unit) for label, unit in zip(labels, units)}) == 6 == len(set(units))
    torch.testing.assert_close(head.prototypes[0].norm(dim=-1), torch.ones(6))


def test_a_device_finds_its_own_centres(monkeypatch):
    """Guards against scikit-learn's k-means where frames are on a GPU, which would wait minutes for it at K = 2,048."""

    def centres(points, number, *options):
        seen.append((points.device.type, number))
        return points[:number], 0.0

    seen = []
    monkeypatch.setattr(codebook_start, "kmeans", centres)
    head = PrototypeHead(16, [8, 4], [6, 8]).to("meta")  # deeper: torch finds no principal components there
    start_from_kmeans(head, torch.zeros(40, 16, device="meta"))
    assert seen == [("meta", 6), ("meta", 8)]


def test_a_deeper_projection_keeps_its_weights():
    frames, _ = clustered_frames(np.random.default_rng(4))
    head = PrototypeHead(16, [24, 8], [5])
    before = [weight.clone() for weight in head.projection.parameters()]
    start_from_kmeans(head, frames)
    for one, other in zip(before, head.projection.parameters()):
        torch.testing.assert_close(one, other)
    assert (head(frames.float())[0].max(-1).values > 0.5).all()


def test_codebooks_start_apart_and_a_seed_repeats_itself():
    frames = torch.from_numpy(np.random.default_rng(5).standard_normal((300, 16)))
    one, other = PrototypeHead(16, [4], [7, 7]), PrototypeHead(16, [4], [7, 7])
    start_from_kmeans(one, frames, seed=1)
    start_from_kmeans(other, frames, seed=1)
    torch.testing.assert_close(list(one.parameters()), list(other.parameters()))
    assert not torch.allclose(one.prototypes[0], one.prototypes[1])


def test_too_few_frames_are_refused():
    with pytest.raises(ConfigError, match="9 frames are too few for 12 prototypes"):
        start_from_kmeans(PrototypeHead(16, [4], [12]), torch.randn(9, 16))
