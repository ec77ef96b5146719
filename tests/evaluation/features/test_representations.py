import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from spin_fairseq.checkpoints import load_spin
from spin_fairseq.errors import CheckpointError, ConfigError
from spin_fairseq.evaluation.features import mfcc
from spin_fairseq.evaluation.features.kmeans import fit_centroids
from spin_fairseq.evaluation.features.representations import (
    EncoderSource,
    KMeansUnits,
    MfccSource,
    SpinSource,
    SpinUnits,
)
from tests.fake_cuda import fake_cuda
from tests.spin_checkpoints import save_spin


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_spin(tmp_path_factory.mktemp("spin") / "spin.pt")


@pytest.fixture(scope="module")
def batch():
    """Two waves, the second padded: (2, 6000), its mask, and the lengths."""
    torch.manual_seed(0)
    mask = torch.arange(6000) >= torch.tensor([[6000], [4000]])
    return (0.1 * torch.randn(2, 6000)).masked_fill(mask, 0.0), mask, (6000, 4000)


def test_a_row_does_not_depend_on_its_batch(checkpoint, small_hubert, batch):
    source, mask, lengths = batch
    for features, layers in (
        (MfccSource(), [None]),
        (EncoderSource(small_hubert), [3, 1]),
        (SpinSource(checkpoint), [None]),
    ):
        compute = features.compute(layers)
        with torch.no_grad():
            found = compute(source, mask)
            assert len(found) == len(layers)
            for row, length in enumerate(lengths):
                frames = features.output_lengths(length)
                for together, layer, alone in zip(found, layers, compute(source[row : row + 1, :length], None)):
                    assert together.shape[-1] == features.width(layer)
                    torch.testing.assert_close(together[row, :frames], alone[0, :frames], atol=1e-4, rtol=1e-4)


def test_spins_units_are_the_models(checkpoint, batch):
    source, _, _ = batch
    features, model = SpinSource(checkpoint), load_spin(checkpoint)
    for codebook in (0, 1):
        units = SpinUnits(features, codebook)
        with torch.no_grad():
            (embeddings,) = features.compute([None])(source, None)
            assert torch.equal(units.units(embeddings), model.extract_units(source, codebook=codebook))
        assert units.clusters == len(model.head.prototypes[codebook])


def test_the_nearest_centroid_is_taken_as_by_scikit_learn():
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(500, 6)).astype(np.float32) * 3 + 10
    centroids = fit_centroids(frames, 12, seed=1)
    kmeans = KMeans(12, init=centroids, n_init=1, max_iter=1).fit(frames)
    kmeans.cluster_centers_ = centroids
    assert (
        KMeansUnits(MfccSource(), None, centroids).units(torch.from_numpy(frames)).tolist()
        == kmeans.predict(frames).tolist()
    )
    assert np.array_equal(centroids, fit_centroids(frames, 12, seed=1))
    with pytest.raises(ConfigError, match="501 clusters"):
        fit_centroids(frames, 501)


def test_what_is_missing_is_named(checkpoint, small_hubert, tmp_path):
    with pytest.raises(CheckpointError, match="gone.pt"):
        EncoderSource(tmp_path / "gone.pt")
    with pytest.raises(CheckpointError, match=r"give it as .*\+kmeans"):
        SpinSource(small_hubert).model  # noqa: B018
    with pytest.raises(ConfigError, match="codebook 2"):
        SpinUnits(SpinSource(checkpoint), 2).clusters  # noqa: B018
    with pytest.raises(ConfigError, match="layers 1..3"):
        EncoderSource(small_hubert).compute([4])


@pytest.fixture
def mfcc_tables_of_its_own():
    """Tables of a real device do not go to a fake one, and the other way round."""
    mfcc._tables.cache_clear()
    yield
    mfcc._tables.cache_clear()


def test_mfccs_and_kmeans_run_on_a_gpu(mfcc_tables_of_its_own):
    with fake_cuda():
        (features,) = MfccSource().compute([None])(torch.zeros(2, 1000, device="cuda"), None)
        units = KMeansUnits(MfccSource(), None, np.zeros((5, 39), np.float32), features.device).units(features)
        assert units.device.type == "cuda" and units.shape == (2, 2)
