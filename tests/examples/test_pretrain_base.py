"""What the pre-training of the demo's base adds to fairseq: normalised MFCCs, and the start of an iteration."""

import dataclasses
import shutil

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from fairseq.criterions.hubert_criterion import HubertCriterionConfig
from fairseq.dataclass.configs import CheckpointConfig, CommonConfig, DatasetConfig, OptimizationConfig
from fairseq.models.hubert.hubert import HubertConfig
from fairseq.optim.lr_scheduler.polynomial_decay_schedule import PolynomialDecayLRScheduleConfig
from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

from spin_fairseq.checkpoints import load_encoder
from tests.examples.conftest import DEMO
from tests.small_hubert import fairseq_hubert

pytest.importorskip("librosa", reason="pre-training the base wants librosa, which `make setup` does not install")
pytest.importorskip("matplotlib", reason="pre-training the base wants matplotlib")


@pytest.fixture(scope="module")
def pretrain_base(demo_module):
    return demo_module("pretrain_base")


@pytest.fixture(scope="module")
def base_checkpoints(demo_module):
    return demo_module("base_checkpoints")


@pytest.fixture(scope="module")
def speed_copies(demo_module):
    return demo_module("speed_copies")


def test_normalized_mfccs_forget_the_utterances_offset_and_shrink_wide_dimensions(pretrain_base):
    rng = np.random.default_rng(1)
    wide = np.array([16.0, 1.0, 0.25])
    train = [rng.standard_normal((400, 3)) * wide + offset for offset in (5.0, -3.0)]
    dev = [rng.standard_normal((300, 3)) * wide]

    changed = pretrain_base.normalize_mfcc(dev, train)
    assert np.allclose(changed[0].mean(axis=0), 0.0)
    assert changed[0].std(axis=0) == pytest.approx(np.sqrt(wide), rel=0.1)
    moved = pretrain_base.normalize_mfcc([dev[0] + [7.0, -2.0, 1.0]], train)
    assert np.allclose(moved[0], changed[0])


def test_an_iteration_starts_from_the_weights_before_with_new_cluster_embeddings(base_checkpoints, tmp_path):
    before = {"encoder": torch.randn(3), "label_embs_concat": torch.full((6, 4), 7.0)}
    torch.save({"model": before, "last_optimizer_state": {"step": 1}}, tmp_path / "iteration_1.pt")
    dictionary = tmp_path / "dict.km.txt"
    dictionary.write_text("".join(f"{cluster} 1\n" for cluster in range(5)))

    for name in ("start.pt", "again.pt"):
        base_checkpoints.write_start(tmp_path / "iteration_1.pt", tmp_path / name, dictionary)
    start, again = (base_checkpoints.read_checkpoint(tmp_path / name) for name in ("start.pt", "again.pt"))
    assert set(start) == {"model"} and torch.equal(start["model"]["encoder"], before["encoder"])
    embeddings = start["model"]["label_embs_concat"]
    assert embeddings.shape == (5 + 4, 4)  # fairseq's dictionary adds four symbols
    assert embeddings.min() >= 0 and embeddings.max() <= 1
    assert torch.equal(embeddings, again["model"]["label_embs_concat"])


def test_a_base_that_grows_loads_into_the_deeper_model_with_copies_of_its_last_layers(
    base_checkpoints, tmp_path, small_hubert
):
    """Guards against layers that are left random, or copied from the wrong ones: the grown model would start from noise."""
    dictionary = tmp_path / "dict.km.txt"
    dictionary.write_text("".join(f"{cluster} 1\n" for cluster in range(20)))
    base_checkpoints.write_start(small_hubert, tmp_path / "start.pt", dictionary, layers=5)
    weights = base_checkpoints.read_checkpoint(tmp_path / "start.pt")["model"]

    deeper, _ = fairseq_hubert(encoder_layers=5, seed=3)
    deeper.load_state_dict(weights)  # strictly
    before = base_checkpoints.read_checkpoint(small_hubert)["model"]
    for layer, source in enumerate((0, 1, 2, 1, 2)):
        name = "encoder.layers.{}.fc1.weight"
        assert torch.equal(weights[name.format(layer)], before[name.format(source)])
    with pytest.raises(SystemExit, match=r"--grow 7.*3\.\.6"):
        base_checkpoints.grow(weights_of(before), 7)


def weights_of(state):
    return {name: tensor for name, tensor in state.items() if name.startswith("encoder.layers.")}


def test_smoothing_is_a_triangle_that_keeps_the_level_and_the_length(pretrain_base):
    """Guards against a window off its frame, which would shift all labels, and against ends that fade to zero."""
    pulse = np.zeros((9, 2))
    pulse[4] = 9.0, 18.0
    smoothed = pretrain_base.smooth(pulse, 5)
    assert np.allclose(smoothed[:, 0], [0, 0, 1, 2, 3, 2, 1, 0, 0]) and np.allclose(smoothed[:, 1], 2 * smoothed[:, 0])
    assert np.allclose(pretrain_base.smooth(np.full((4, 3), 7.0), 5), 7.0)
    assert np.array_equal(pretrain_base.smooth(pulse, 1), pulse)


def test_a_manifest_of_several_folders_has_all_their_audio(pretrain_base, tmp_path):
    """Guards against a second --speech folder that is silently left out of the training."""
    folders = [tmp_path / "one", tmp_path / "more" / "two"]
    for folder, length in zip(folders, (1600, 3200)):
        path = folder / "train" / "7" / "1" / f"{folder.name}-1-0000.flac"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.zeros(length), 16000)
    pretrain_base.write_manifest(folders, "train", tmp_path / "train.tsv")
    root, *rows = (tmp_path / "train.tsv").read_text().splitlines()
    assert root == str(tmp_path)
    assert rows == ["one/train/7/1/one-1-0000.flac\t1600", "more/two/train/7/1/two-1-0000.flac\t3200"]
    assert [path.exists() for path in pretrain_base.read_manifest(tmp_path / "train.tsv")] == [True, True]
    with pytest.raises(SystemExit, match="no .flac.* below .*two/dev"):
        pretrain_base.write_manifest(folders[1:], "dev", tmp_path / "dev.tsv")


def test_copies_at_other_speeds_keep_each_label_with_its_sound(speed_copies, pretrain_base, tmp_path):
    """Guards against labels of another copy, and against labels that drift away from the sound of a slower or faster copy."""
    rng = np.random.default_rng(1)
    wave = 0.1 * rng.standard_normal(100 * 320 + 80)
    loud = np.repeat([0, 1, 0, 1], 25)
    wave[: len(loud) * 320] *= np.repeat(loud, 320)
    (tmp_path / "train").mkdir()
    soundfile.write(tmp_path / "train" / "1.ogg", wave, 16000)
    soundfile.write(tmp_path / "train" / "2.wav", np.zeros(16000), 16000)
    pretrain_base.write_manifest([tmp_path], "train", tmp_path / "train.tsv")
    shutil.copy(tmp_path / "train.tsv", tmp_path / "valid.tsv")
    labels = tmp_path / "labels_1"
    labels.mkdir()
    rows = " ".join(map(str, loud)) + "\n" + " ".join(["0"] * 49) + "\n"
    for name, text in (("train.km", rows), ("valid.km", rows), ("dict.km.txt", "0 1\n1 1\n")):
        (labels / name).write_text(text)

    speeds = (0.8, 1.0, 1.25)
    speed_copies.write_copies(tmp_path, speeds)
    speed_copies.write_labels_of_copies(labels, speeds, 50, tmp_path / "copies" / "labels_1")
    copies = pretrain_base.read_manifest(tmp_path / "copies" / "train.tsv")
    of_copies = (tmp_path / "copies" / "labels_1" / "train.km").read_text().splitlines()
    assert len(copies) == len(of_copies) == 6
    for path, row, speed in zip(copies, of_copies, np.repeat(speeds, 2)):
        copy, found = speed_copies.read_wave(path), np.array(row.split(), dtype=int)
        assert len(copy) % 8000 == 0 and 0 <= len(copy) // 320 - len(found) <= 1
        original = soundfile.info(tmp_path / "train" / ("1.ogg" if path.stem == "0" else "2.wav")).frames
        assert 0 <= original / speed - len(copy) < 8001
        heard = np.abs(copy[: len(found) * 320]).reshape(-1, 320).mean(axis=1) > 0.03
        assert (heard == found).mean() > 0.94, (path, speed)  # but for the frames on an edge

    (labels / "train.km").write_text("0 1\n")
    with pytest.raises(SystemExit, match="labels of 1 files for 6 copies at 3 speeds"):
        speed_copies.write_labels_of_copies(labels, speeds, 50, tmp_path / "copies" / "labels_2")


def test_ready_labels_are_taken_only_where_each_file_has_a_row(pretrain_base, tmp_path):
    """Guards against labels of other speech, which would teach each file the sounds of another."""
    source = tmp_path / "ready"
    source.mkdir()
    for name, text in (("train.km", "0 1\n1 1\n"), ("valid.km", "0\n"), ("dict.km.txt", "0 1\n1 1\n")):
        (source / name).write_text(text)
    paths = {"train": [tmp_path / "1.wav", tmp_path / "2.wav"], "valid": [tmp_path / "3.wav"]}
    with pytest.raises(SystemExit, match="train.km has 2 rows for 1 files"):
        pretrain_base.take_labels(source, tmp_path / "labels_1", {**paths, "train": paths["train"][1:]})
    assert not (tmp_path / "labels_1").exists()
    pretrain_base.take_labels(source, tmp_path / "labels_1", paths)
    assert (tmp_path / "labels_1" / "train.km").read_text() == "0 1\n1 1\n"


def test_whispers_labels_have_as_many_frames_as_the_base_that_learns_them(demo_module, small_hubert):
    """Guards against labels that fairseq would stretch over the features of an utterance."""
    whisper_labels, encoder = demo_module("whisper_labels"), load_encoder(small_hubert)
    for samples in (719, 720, 8000, 8079, 8080):
        frames = encoder.extract_features(torch.zeros(1, samples))[0].shape[1]
        assert whisper_labels.frames_of(samples) == frames


def test_the_configuration_for_a_gpu_changes_keys_that_the_demos_has_or_fairseq_knows():
    """Guards against a misspelt key, and against a base too large for the repository."""
    demo, changes = (OmegaConf.load(DEMO / "base" / name) for name in ("hubert_demo.yaml", "hubert_gpu.yaml"))
    merged = OmegaConf.merge(demo, changes)
    assert merged.model._name == "hubert" and merged.model.encoder_layers == 6 and merged.common.log_format == "json"
    known = {
        "common": CommonConfig, "checkpoint": CheckpointConfig, "dataset": DatasetConfig, "model": HubertConfig, "task": HubertPretrainingConfig,
        "criterion": HubertCriterionConfig, "optimization": OptimizationConfig, "lr_scheduler": PolynomialDecayLRScheduleConfig,
    }  # fmt: skip
    for section, keys in changes.items():
        assert set(keys) <= {field.name for field in dataclasses.fields(known[section])}


def test_the_written_checkpoint_has_no_optimiser_and_no_path_and_half_of_it_gives_the_same_features(
    base_checkpoints, tmp_path, small_hubert
):
    """Guards against a checkpoint that tells of the machine it was made on, and against half precision that other code cannot load."""
    state = torch.load(small_hubert, weights_only=False)
    state["cfg"] = {
        "model": {**state["cfg"]["model"], "label_rate": 50.0}, "task": {**state["cfg"]["task"], "data": str(tmp_path), "label_dir": str(tmp_path)},
        "common": {"user_dir": "/somewhere", "plasma_path": "/tmp/plasma"}, "checkpoint": {"save_dir": "/runs", "finetune_from_model": "/start.pt"},
    }  # fmt: skip
    state["last_optimizer_state"] = {"step": 1}
    torch.save(state, tmp_path / "whole.pt")
    for name, half in (("float32.pt", False), ("float16.pt", True)):
        base_checkpoints.strip_checkpoint(tmp_path / "whole.pt", tmp_path / name, half)
    stripped = base_checkpoints.read_checkpoint(tmp_path / "float16.pt")
    assert "last_optimizer_state" not in stripped
    assert not [text for text in base_checkpoints.strings(stripped) if "/" in text]
    assert (tmp_path / "float16.pt").stat().st_size < 0.6 * (tmp_path / "float32.pt").stat().st_size

    wave = torch.randn(1, 8000, generator=torch.Generator().manual_seed(1))
    whole, halved = (load_encoder(tmp_path / name).extract_features(wave)[0] for name in ("float32.pt", "float16.pt"))
    assert halved.dtype == torch.float32
    assert not torch.equal(whole, halved)
    assert torch.allclose(whole, halved, atol=0.02)

    state["cfg"]["task"]["somewhere_else"] = str(tmp_path)
    torch.save(state, tmp_path / "whole.pt")
    with pytest.raises(SystemExit, match="paths are left"):
        base_checkpoints.strip_checkpoint(tmp_path / "whole.pt", tmp_path / "again.pt")
    assert not (tmp_path / "again.pt").exists()


@pytest.mark.parametrize("path, layers", [(DEMO / "hubert_demo.pt", 4), (DEMO / "base" / "hubert_real.pt", 6)])
def test_the_bases_of_the_repository_load_and_tell_no_path(base_checkpoints, path, layers):
    """Guards against a base that is written anew with another shape than its page says, or with paths of the machine."""
    assert load_encoder(path).num_layers == layers
    state = base_checkpoints.read_checkpoint(path)
    assert not [text for text in base_checkpoints.strings(state) if text.startswith("/")]
    assert "last_optimizer_state" not in state
