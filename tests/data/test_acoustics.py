"""Noise and rooms in the two views of training, as the task's keys ask for them."""

import numpy as np
import pytest
import soundfile
import torch

from spin_fairseq.data.acoustics import AcousticsOfViews, open_recordings, snr_range
from spin_fairseq.data.device_views import complete_views
from spin_fairseq.errors import ConfigError, ManifestError
from spin_fairseq.perturbation import build_backend
from spin_fairseq.preparation.packing import pack
from spin_fairseq.speech.folder import manifest_of
from spin_fairseq.speech.manifest import write_manifest
from tests.small_dataset import make_dataset


def acoustics(noise="speech-shaped", reverberation="", snr=(-10, 10), probability=1.0, rooms=1.0):
    return AcousticsOfViews(noise, list(snr), probability, reverberation, rooms)


@pytest.fixture
def noises(tmp_path):
    """A folder of noise at several rates and lengths, with a file that is none."""
    rng, folder = np.random.default_rng(0), tmp_path / "noise"
    folder.mkdir()
    for name, rate, samples in (("a", 16000, 3000), ("b", 8000, 90_000), ("c", 44100, 90_000)):
        soundfile.write(folder / f"{name}.wav", rng.standard_normal(samples) * 0.1, rate)
    (folder / "broken.wav").write_text("none")
    return folder


def same_views(first, second):
    return all(map(np.array_equal, first["views"], second["views"]))


def test_each_view_of_each_utterance_in_each_epoch_has_its_own(speech_folder):
    """Guards against two views with the same noise, which would be what they have in common."""
    dataset = make_dataset(
        speech_folder.data,
        backend=None,
        crop_multiple=4000,
        max_samples=8000,
        acoustics=acoustics("speech-shaped,babble"),
    )
    plain = make_dataset(speech_folder.data, backend=None, crop_multiple=4000, max_samples=8000)
    seen = set()
    for epoch in (1, 2):
        dataset.set_epoch(epoch), plain.set_epoch(epoch)
        for index in range(4):
            added = [
                view / np.abs(view).max() - wave / np.abs(wave).max()
                for view, wave in zip(dataset[index]["views"], plain[index]["views"])
            ]
            seen |= {float(each.std()) for each in added}
            assert same_views(dataset[index], dataset[index])
    assert len(seen) == 16


def test_babble_is_of_others(speech_folder, tmp_path):
    dataset = make_dataset(speech_folder.data, backend=None, acoustics=acoustics("babble", snr=(0, 0)))
    assert len(dataset[0]["views"][0]) == dataset.sizes[0]
    one = dataset.manifest.select(np.array([0]))
    write_manifest(tmp_path / "train.tsv", one.root, one.rows([0]))
    with pytest.raises(ConfigError, match="has one utterance, and task.noise=babble"):
        make_dataset(tmp_path, acoustics=acoustics("babble"))


def test_validation_keeps_the_first_view_and_its_draws(speech_folder):
    """Guards against a PNMI of noisy speech, and against a validation loss that jumps."""
    dataset = make_dataset(speech_folder.data, "dev", backend=None, acoustics=acoustics(reverberation="synthetic"))
    plain = make_dataset(speech_folder.data, "dev", backend=None)
    first = dataset[2]
    dataset.set_epoch(5)
    assert same_views(first, dataset[2])
    assert np.array_equal(first["views"][0], plain[2]["views"][0])
    assert not np.array_equal(first["views"][1], plain[2]["views"][1])


def test_probabilities(speech_folder):
    never = make_dataset(
        speech_folder.data, backend=None, acoustics=acoustics(probability=0.0, reverberation="synthetic", rooms=0.0)
    )
    plain = make_dataset(speech_folder.data, backend=None)
    assert all(same_views(never[index], plain[index]) for index in range(6))
    half = make_dataset(speech_folder.data, backend=None, acoustics=acoustics(probability=0.5))
    changed = 0
    for epoch in range(1, 9):
        half.set_epoch(epoch), plain.set_epoch(epoch)
        for index in range(12):
            changed += sum(not np.array_equal(*pair) for pair in zip(half[index]["views"], plain[index]["views"]))
    assert 70 < changed < 122  # of 192
    assert not AcousticsOfViews("", "-10,10", 1.0, None, 0.5)


@pytest.mark.parametrize("both_views", [False, True])
def test_a_device_gives_what_a_worker_gives(speech_folder, noises, both_views):
    """Guards against noise under the voice change, at another level, or beside another utterance."""
    options = {
        "backend": build_backend("native"), "both_views": both_views,
        "acoustics": acoustics(f"{noises},babble", "synthetic", probability=0.8, rooms=0.6),
    }  # fmt: skip
    worker, device = (make_dataset(speech_folder.data, on_device=on, **options) for on in (False, True))
    expected = worker.collater([worker[index] for index in range(8)])
    batch = device.collater([device[index] for index in range(8)])
    found = complete_views(batch, 16000)["net_input"]["source"]
    assert batch["net_input"]["source"].shape[0] == 8
    torch.testing.assert_close(found, expected["net_input"]["source"], atol=1e-4, rtol=0)


def test_folders_manifests_and_archives(noises, tmp_path, caplog):
    """Guards against a folder whose unreadable file stops the run in mid-training."""
    assert len(open_recordings("task.noise", str(noises))) == 3
    assert "1 of its 4 files are left out" in caplog.text and "broken.wav" in caplog.text
    (noises / "broken.wav").unlink()
    rows = [(f"{name}.wav", samples) for name, samples in (("a", 3000), ("b", 90_000), ("c", 90_000))]
    write_manifest(tmp_path / "noise.tsv", noises, rows)
    pack(manifest_of(tmp_path / "noise.tsv"), tmp_path / "packed")
    (archive,) = (tmp_path / "packed").glob("*.zip")
    crops = []
    for place in (noises, tmp_path / "noise.tsv", tmp_path / "packed" / "noise.tsv", archive):
        recordings = open_recordings("task.noise", str(place))
        assert len(recordings) == 3
        crops.append(np.concatenate([recordings.crop(np.random.default_rng(seed), 5000) for seed in range(6)]))
    assert all(np.array_equal(crops[0], crop) for crop in crops)


def test_a_recording_that_breaks_is_a_counted_skip(speech_folder, noises):
    recordings = acoustics(str(noises / ".." / "noise"))
    for file in noises.iterdir():
        file.write_text("gone")
    item = make_dataset(speech_folder.data, backend=None, acoustics=recordings)[0]
    assert ".wav" in item["error"] and "noise" in item["error"]


def test_bad_values_name_their_keys(tmp_path):
    for value in ("ten", "5", "10,-10", [1, 2, 3], "nan,1", "-10,900"):
        with pytest.raises(ConfigError, match="task.noise_snr is"):
            snr_range("task.noise_snr", value)
    assert snr_range("task.noise_snr", "-10, 10") == snr_range("task.noise_snr", [-10, 10.0]) == (-10.0, 10.0)
    with pytest.raises(ConfigError, match="task.noise is .*nowhere"):
        acoustics(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="task.noise_probability is 2"):
        acoustics(probability=2)
    with pytest.raises(ConfigError, match="task.reverberation is .*gone.zip"):
        acoustics(reverberation=str(tmp_path / "gone.zip"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="task.noise is .*no audio in it"):
        acoustics(str(tmp_path / "empty"))
