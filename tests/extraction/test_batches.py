import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.extraction.batches import batches_by_length, extract, extract_each


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60), st.integers(1, 3000))
def test_batches_hold_each_utterance_once_within_the_limit(sizes, limit):
    batches = list(batches_by_length(sizes, limit))
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or max(sizes[index] for index in batch) * len(batch) <= limit


def test_batched_equals_one_file_at_a_time(small_hubert, speech_folder):
    encoder = load_encoder(small_hubert)
    manifest = load_manifest(speech_folder.data, "dev")

    def compute(source, mask):
        return encoder.extract_features(source, mask)[0]

    found = extract(compute, encoder.output_lengths, manifest, max_samples=10**6)
    for index, features in enumerate(found):
        wave = torch.from_numpy(read_audio(manifest.path(index)))[None]
        with torch.no_grad():
            alone = encoder.extract_features(wave)[0][0].numpy()
        assert features.shape == alone.shape
        # Both are this far from the same in float64: random convolutions blow the faint parts of a wave up.
        np.testing.assert_allclose(features, alone, atol=2e-3)


def test_several_results_and_a_longest_length(small_hubert, speech_folder):
    encoder = load_encoder(small_hubert)
    manifest = load_manifest(speech_folder.data, "dev")

    def compute(source, mask):
        return tuple(encoder.extract_features(source, mask, output_layer=layer)[0] for layer in (1, 3))

    for first, second in extract(compute, encoder.output_lengths, manifest, longest=8000):
        assert len(first) == len(second) == encoder.output_lengths(8000)
        assert np.abs(first - second).max() > 0


def test_several_threads_give_the_same_in_the_same_order(small_hubert, speech_folder):
    encoder = load_encoder(small_hubert)
    manifest = load_manifest(speech_folder.data, "dev")

    def compute(source, mask):
        return encoder.extract_features(source, mask)[0]

    def run(threads):
        return list(extract_each(compute, encoder.output_lengths, manifest, max_samples=1, threads=threads, workers=2))

    before = torch.get_num_threads()
    one, three = run(1), run(3)
    assert torch.get_num_threads() == before and [index for index, _ in one] == [index for index, _ in three]
    for (_, (first,)), (_, (second,)) in zip(one, three):
        np.testing.assert_allclose(first, second, atol=2e-3)


def test_an_error_in_a_thread_is_raised(small_hubert, speech_folder):
    manifest = load_manifest(speech_folder.data, "dev")

    def compute(source, mask):
        raise ValueError("as it was")

    with pytest.raises(ValueError, match="as it was"):
        list(extract_each(compute, lambda samples: samples, manifest, max_samples=1, threads=2))
