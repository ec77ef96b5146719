import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.encoders import AS_USUAL, Mode
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.folder import manifest_of
from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.extraction.batches import batches_by_length, extract_each
from spin_fairseq.extraction.long_files import Chunks
from tests.extracting import extract


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
    for index, (features,) in enumerate(found):
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


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"mode": None}, {"bounded": True}])
def test_progress_is_told_within_a_long_file_and_sums_to_all_samples(small_hubert, speech_folder, tmp_path, options):
    """The bar stood at 0/1 for all of a file of twenty minutes."""
    dev = load_manifest(speech_folder.data, "dev")
    wave = np.concatenate([read_audio(dev.path(i)) for i in range(len(dev))])
    soundfile.write(tmp_path / "long.wav", wave, 16000)
    soundfile.write(tmp_path / "short.wav", wave[:8000], 16000)
    manifest, encoder = manifest_of(tmp_path), load_encoder(small_hubert)
    options = {"mode": Mode(packed=True, block=50), **options}
    if options.pop("bounded", False):
        options["chunks"] = Chunks(encoder, 2.0, 0.5, options["mode"])

    def compute(source, mask, mode=AS_USUAL):
        return encoder.extract_features(source, mask, mode=mode)[0]

    told, finished = [], []
    for index, _ in extract_each(
        compute, encoder.output_lengths, manifest, max_samples=1, progress=told.append, **options
    ):
        finished.append((index, len(told)))
    assert abs(sum(told) - manifest.sizes.sum()) < 1e-3 and min(told) >= 0
    if options["mode"] is None:
        return
    blocks = encoder.output_lengths(len(wave)) / 50
    assert len(told) > blocks  # those of the convolutions alone
    if "threads" not in options:
        assert finished[0][1] > blocks and max(told) < manifest.sizes.sum() / 4
