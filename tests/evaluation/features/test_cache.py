import sys

import numpy as np
import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.errors import CheckpointError, ConfigError
from spin_fairseq.evaluation.corpus import load_corpus
from spin_fairseq.evaluation.features.cache import FeatureCache
from spin_fairseq.evaluation.features.representations import EncoderSource, MfccSource
from spin_fairseq.progress import ProgressBar
from tests.overflowing import overflow
from tests.test_progress import Terminal


@pytest.fixture(scope="module")
def corpus(speech_folder):
    return load_corpus([speech_folder.data / "dev.tsv"])


class Counting(EncoderSource):
    """Counts how often the model is run over the corpus."""

    runs = 0

    def compute(self, layers):
        self.runs += 1
        return super().compute(layers)


def test_features_are_those_of_each_file_alone(small_hubert, corpus, tmp_path):
    cache, encoder = FeatureCache(tmp_path), load_encoder(small_hubert)
    found = dict(cache.each_layer(EncoderSource(small_hubert), (1, 2, 3), corpus))
    with torch.no_grad():
        for i in range(len(corpus)):
            wave = torch.from_numpy(read_audio(corpus.path(i)))[None]
            for layer, features in found.items():
                np.testing.assert_allclose(
                    features[i], encoder.encode(wave, output_layer=layer)[0][0].numpy(), atol=1e-4
                )


def test_nothing_is_computed_twice_but_for_other_audio(small_hubert, corpus, tmp_path, speech_folder):
    source = Counting(small_hubert)
    first = FeatureCache(tmp_path).layer(source, 2, corpus)
    again = FeatureCache(tmp_path).layer(source, 2, corpus)
    assert source.runs == 1 and np.array_equal(first.array, again.array)
    FeatureCache(tmp_path).layer(source, 3, corpus)
    FeatureCache(tmp_path).layer(source, 2, load_corpus([speech_folder.data / "train.tsv"]))
    assert source.runs == 3


def test_the_folder_stays_below_its_limit(small_hubert, corpus, tmp_path):
    source = Counting(small_hubert)
    size = int(np.sum(source.output_lengths(corpus.sizes))) * 64 * 4
    cache = FeatureCache(tmp_path, limit=int(2.5 * size))
    layers = [layer for layer, _ in cache.each_layer(source, (1, 2, 3), corpus)]
    assert layers == [1, 2, 3] and source.runs == 2  # two layers fit at a time
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2.6 * size  # headers of the files
    with pytest.raises(ConfigError, match="--cache-gb"):
        FeatureCache(tmp_path, limit=size // 2).layer(source, 1, corpus)


def test_half_precision_is_half_as_large_and_nearly_the_same(corpus, tmp_path):
    whole, half = (
        FeatureCache(tmp_path, dtype=dtype).layer(MfccSource(), None, corpus) for dtype in ("float32", "float16")
    )
    assert half.array.nbytes * 2 == whole.array.nbytes and half[0].dtype == np.float32
    np.testing.assert_allclose(half.array, whole.array, rtol=1e-3, atol=1e-4)


def test_drawn_frames_are_frames_of_the_whole(corpus, tmp_path):
    cache = FeatureCache(tmp_path)
    whole = cache.layer(MfccSource(), None, corpus)
    ((_, drawn),) = cache.each_layer(MfccSource(), (None,), corpus, most_frames=40, seed=3)
    assert len(drawn.array) == 40
    for i in range(len(corpus)):
        rows = {row.tobytes() for row in whole[i]}
        assert all(row.tobytes() in rows for row in drawn[i])
    ((_, other),) = cache.each_layer(MfccSource(), (None,), corpus, most_frames=40, seed=4)
    assert not np.array_equal(drawn.array, other.array)


def test_features_with_nan_name_model_and_file(make_hubert, corpus, tmp_path):
    state = torch.load(make_hubert(seed=9), weights_only=False)
    overflow(state["model"], "encoder.layers.1")
    torch.save(state, tmp_path / "broken.pt")
    cache = FeatureCache(tmp_path / "cache")
    with pytest.raises(CheckpointError, match=r"broken.pt, layer 2, gives NaN or infinite features for .*\.(wav|flac)"):
        cache.layer(EncoderSource(tmp_path / "broken.pt"), 2, corpus)
    assert not list((tmp_path / "cache").iterdir())


def test_the_bar_counts_seconds_within_files(small_hubert, corpus, tmp_path, monkeypatch):
    """A long file was one step of the bar."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    counted = []
    monkeypatch.setattr(ProgressBar, "update", lambda bar, n=1: counted.append(n))
    FeatureCache(tmp_path, progress=True).layer(EncoderSource(small_hubert), 2, corpus)
    assert len(counted) > 2 * len(corpus) and abs(sum(counted) - corpus.seconds) < 1e-3
