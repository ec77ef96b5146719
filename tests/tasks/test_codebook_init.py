import pytest
import torch
from omegaconf import OmegaConf

from spin_fairseq.errors import ConfigError, ManifestError
from spin_fairseq.extraction.batches import sample_features
from spin_fairseq.models.spin import SpinConfig, SpinModel
from spin_fairseq.modules.codebook_start import start_from_kmeans
from spin_fairseq.speech.manifest import load_manifest
from tests.gloo_ranks import head_of_a_rank, on_ranks
from tests.small_task import small_task


def config(checkpoint, **options):
    defaults = {"checkpoint": str(checkpoint), "freeze": "cnn,pos,1..2", "head_dims": [16], "codebook_sizes": [12]}
    keys = vars(SpinConfig(**{**defaults, "codebook_init": "kmeans", **options}))
    return OmegaConf.create({**keys, "_name": "spin"})


def test_head_and_prototypes_start_from_the_training_speech(speech_folder, small_hubert):
    task = small_task(speech_folder)
    torch.manual_seed(1)
    model = task.build_model(config(small_hubert))
    torch.manual_seed(2)  # nothing of the random start is left
    again = task.build_model(config(small_hubert))
    torch.testing.assert_close(model.state_dict(), again.state_dict())
    assert model.training

    task.load_dataset("train")
    by_hand = task.build_model(config(small_hubert, codebook_init="random"))
    features = sample_features(by_hand, task.dataset("train").manifest, 150 * 12, 32000, task.cfg.seed)
    start_from_kmeans(by_hand.head, features, task.cfg.seed)
    torch.testing.assert_close(model.state_dict(), by_hand.state_dict())
    used = model.eval().head(features)[0].argmax(-1).unique()
    assert len(used) == 12


def test_a_checkpoint_needs_no_training_speech(speech_folder, small_hubert, tmp_path):
    cfg = config(small_hubert)
    model = small_task(speech_folder).build_model(cfg)
    elsewhere = small_task(speech_folder, data=str(tmp_path / "gone"))
    loaded = elsewhere.build_model(cfg)
    loaded.load_state_dict(model.state_dict())


def test_a_resumed_run_does_without(speech_folder, small_hubert, tmp_path):
    """It took the minutes of the start again, for weights that the checkpoint replaces."""
    (tmp_path / "checkpoint_last.pt").touch()
    for restore_file in ("checkpoint_last.pt", str(tmp_path / "checkpoint_last.pt")):
        places = {"save_dir": str(tmp_path), "restore_file": restore_file}
        small_task(speech_folder, data=str(tmp_path / "gone"), **places).build_model(config(small_hubert))
    with pytest.raises(ManifestError):
        small_task(speech_folder, data=str(tmp_path / "gone")).build_model(config(small_hubert))


@pytest.mark.slow
def test_ranks_start_alike_by_the_work_of_the_first(speech_folder, small_hubert, tmp_path):
    """Each rank did all of it; and in threads that add in another order, so that ranks might start apart."""
    heads = on_ranks(2, head_of_a_rank, tmp_path / "ranks", speech_folder, config(small_hubert), str(tmp_path / "gone"))
    torch.testing.assert_close(heads[0], heads[1], rtol=0, atol=0)
    alone = small_task(speech_folder).build_model(config(small_hubert)).head.state_dict()
    torch.testing.assert_close(heads[0], dict(alone))


def test_utterances_in_batches_give_the_same_frames(speech_folder, small_hubert):
    """They went through the encoder one by one."""
    model = small_task(speech_folder).build_model(config(small_hubert, codebook_init="random"))
    manifest = load_manifest(speech_folder.data, "train")
    one_by_one, at_once = (sample_features(model, manifest, 500, 32000, 3, size) for size in (1, 10**6))
    assert len(one_by_one) >= 500
    torch.testing.assert_close(at_once, one_by_one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gpu, cpu, device", [(True, False, "cuda"), (True, True, "cpu"), (False, False, "cpu")])
def test_the_start_is_computed_on_the_gpu_in_batches(speech_folder, small_hubert, monkeypatch, gpu, cpu, device):
    """It ran on the CPU, an utterance at a time, while the GPU waited."""
    devices, rows = [], []

    def extract_features(self, source, *options):
        rows.append(len(source))
        return original(self, source, *options)

    original = SpinModel.extract_features
    monkeypatch.setattr(SpinModel, "extract_features", extract_features)
    monkeypatch.setattr(SpinModel, "to", lambda self, device: devices.append(device.type) or self)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    small_task(speech_folder, cpu=cpu).build_model(config(small_hubert))
    assert devices == [device]
    assert len(rows) == 1 < rows[0]


def test_an_unreadable_file_is_left_out_and_too_little_speech_refused(speech_folder, small_hubert, tmp_path):
    task = small_task(speech_folder)
    with pytest.raises(ConfigError, match=r"model.codebook_init is kmeans: \d+ frames are too few for 5000 prototypes"):
        task.build_model(config(small_hubert, codebook_sizes=[5000]))
    root, *rows = (speech_folder.data / "train.tsv").read_text().splitlines()
    (tmp_path / "train.tsv").write_text("\n".join([root, *rows, "gone.flac\t16000"]) + "\n")
    manifest = small_task(speech_folder, data=str(tmp_path))
    assert manifest.build_model(config(small_hubert)).head.prototypes[0].isfinite().all()


def test_a_start_of_another_name_is_refused(small_hubert, speech_folder):
    with pytest.raises(ConfigError, match="model.codebook_init is 'pca': it must be random or kmeans"):
        small_task(speech_folder).build_model(config(small_hubert, codebook_init="pca"))


def test_only_what_training_uses_is_read(speech_folder, small_hubert, tmp_path):
    """Guards against a start from utterances that training drops, and an error of a convolution for those without a frame."""
    root, *rows = (speech_folder.data / "train.tsv").read_text().splitlines()
    names = [row.split("\t")[0] for row in rows]
    short = [f"{name}\t{samples}" for name, samples in zip(names, (1, 2, 200, 399, 400, 15999))]
    (tmp_path / "train.tsv").write_text("\n".join([root, *short, *rows[6:]]) + "\n")
    used = tmp_path / "used"
    used.mkdir()
    (used / "train.tsv").write_text("\n".join([root, *rows[6:]]) + "\n")
    found = [
        small_task(speech_folder, data=str(folder), min_sample_size=16000).build_model(config(small_hubert))
        for folder in (tmp_path, used)
    ]
    torch.testing.assert_close(*(model.state_dict() for model in found))
    with pytest.raises(ManifestError, match="none of its 12 utterances has task.min_sample_size=32000"):
        small_task(speech_folder, data=str(tmp_path), min_sample_size=32000).build_model(config(small_hubert))


def test_features_are_sampled_of_what_has_a_frame(speech_folder, small_hubert, tmp_path):
    rows = (speech_folder.data / "train.tsv").read_text().splitlines()
    (tmp_path / "train.tsv").write_text("\n".join([rows[0], rows[1].split("\t")[0] + "\t200", rows[2]]) + "\n")
    model = small_task(speech_folder).build_model(config(small_hubert, codebook_init="random"))
    manifest = load_manifest(tmp_path, "train")
    assert len(sample_features(model, manifest, 10**6, 32000)) == model.encoder.output_lengths(
        min(manifest.sizes[1], 32000)
    )
