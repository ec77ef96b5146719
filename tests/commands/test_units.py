import numpy as np
import pytest
import torch

from spin_fairseq.checkpoints import load_spin
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.manifest import load_manifest
from tests.checkpoints.parity import S3PRL_FILES
from tests.commands.running import spin_fairseq
from tests.spin_checkpoints import save_spin


@pytest.fixture(scope="module")
def spin_checkpoint(tmp_path_factory):
    return save_spin(tmp_path_factory.mktemp("spin") / "checkpoint_last.pt")


def dump_units(checkpoint, audio, out, *options):
    return spin_fairseq("units", checkpoint, audio, "--out", out, *options)


def test_units_of_a_manifest(spin_checkpoint, speech_folder, tmp_path):
    assert dump_units(spin_checkpoint, speech_folder.data / "dev.tsv", tmp_path / "dev.km") == 0
    manifest, model = load_manifest(speech_folder.data, "dev"), load_spin(spin_checkpoint)
    ids = (tmp_path / "dev.ids").read_text().split()
    rows = (tmp_path / "dev.km").read_text().splitlines()
    assert ids == [manifest.utterance_id(i) for i in range(len(manifest))]
    for index, row in enumerate(rows):
        wave = torch.from_numpy(read_audio(manifest.path(index)))[None]
        with torch.no_grad():
            assert [int(unit) for unit in row.split()] == model.extract_units(wave)[0].tolist()


def test_second_codebook_without_repeats(spin_checkpoint, speech_folder, tmp_path):
    out = tmp_path / "dev.km"
    done = dump_units(spin_checkpoint, speech_folder.data / "dev.tsv", out, "--codebook", 1, "--deduplicate")
    assert done == 0
    for row in out.read_text().splitlines():
        units = [int(unit) for unit in row.split()]
        assert all(a != b for a, b in zip(units, units[1:])) and max(units) < 7


def test_errors_are_one_line_and_leave_nothing(spin_checkpoint, speech_folder, tmp_path, capsys):
    for arguments, word in [
        ((speech_folder.data / "dev.tsv", speech_folder.data / "dev.tsv"), "dev.tsv"),
        ((spin_checkpoint, tmp_path / "gone.tsv"), "gone.tsv"),
        ((spin_checkpoint, speech_folder.data / "dev.tsv", "--codebook", 2), "--codebook"),
    ]:
        assert dump_units(*arguments[:2], tmp_path / "out" / "dev.km", *arguments[2:]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and word in error and error.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_features_of_a_base_and_a_spin_checkpoint(spin_checkpoint, small_hubert, speech_folder, tmp_path):
    for name, checkpoint in (("base", small_hubert), ("spin", spin_checkpoint)):
        out = tmp_path / f"{name}.npy"
        assert dump_units(checkpoint, speech_folder.data / "dev.tsv", out, "--output", "features", "--layer", 2) == 0
        assert np.load(out).shape[1] == 64


def test_half_precision(spin_checkpoint, speech_folder, tmp_path):
    """Guards against an option that nobody reads, and against half precision that makes other units altogether."""
    found = {}
    for dtype in ("float32", "bfloat16", "float16"):
        out, model = tmp_path / f"{dtype}.npy", load_spin(spin_checkpoint, dtype)
        manifest = load_manifest(speech_folder.data, "dev")
        assert (
            dump_units(spin_checkpoint, speech_folder.data / "dev.tsv", out, "--dtype", dtype, "--output", "scores")
            == 0
        )
        found[dtype] = np.load(out)
        with torch.no_grad():
            scores = [model.extract_scores(torch.from_numpy(read_audio(manifest.path(i)))[None])[0] for i in range(2)]
        np.testing.assert_allclose(found[dtype][: sum(map(len, scores))], torch.cat(scores), atol=2e-2)
    for dtype, near in (("bfloat16", 0.05), ("float16", 0.005)):
        difference = np.abs(found[dtype] - found["float32"])
        assert 0 < difference.max() < near
        assert (found[dtype].argmax(1) == found["float32"].argmax(1)).mean() > 0.8


@pytest.mark.parametrize("option", ["--chunk-seconds", "--batch-seconds", "--attention-seconds"])
def test_seconds_are_above_zero(spin_checkpoint, tmp_path, option, capsys):
    assert dump_units(spin_checkpoint, tmp_path, tmp_path / "dev.km", option, 0) == 2
    assert option in capsys.readouterr().err


def test_what_a_checkpoint_leaves_open_is_given(speech_folder, tmp_path, capsys):
    """Guards against a file of the original code that no command takes, since the number of heads is not in it."""
    checkpoint, manifest = S3PRL_FILES / "spin_hubert.ckpt", speech_folder.data / "dev.tsv"
    assert dump_units(checkpoint, manifest, tmp_path / "dev.km") == 1
    assert "--encoder encoder_attention_heads=N" in capsys.readouterr().err
    assert dump_units(checkpoint, manifest, tmp_path / "dev.km", "--encoder", "encoder_attention_heads=4") == 0
    words = ["--to", "spin", "--out", tmp_path / "spin.pt", "--encoder", "encoder_attention_heads=4"]
    assert spin_fairseq("convert", checkpoint, *words) == 0
    assert dump_units(tmp_path / "spin.pt", manifest, tmp_path / "same.km") == 0
    assert (tmp_path / "dev.km").read_text() == (tmp_path / "same.km").read_text()
    assert dump_units(checkpoint, manifest, tmp_path / "no.km", "--encoder", "nonsense=4") == 1
    assert "nonsense=4" in capsys.readouterr().err
