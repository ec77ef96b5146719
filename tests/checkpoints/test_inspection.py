"""What `inspect_checkpoint` says of each format, beside what the model is that the checkpoint makes."""

import json

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.checkpoints.inspection import CANNOT_BE_TOLD, HEADS, inspect_checkpoint
from spin_fairseq.checkpoints.writers import WRITERS, convert
from spin_fairseq.errors import CheckpointError, SpinError
from tests.checkpoints.parity import S3PRL_FILES
from tests.checkpoints.test_reference_spin import make as make_reference
from tests.small_hubert import LARGE_FORM, fairseq_hubert
from tests.small_wavlm import save_microsoft_wavlm
from tests.spin_checkpoints import save_spin

ENCODERS = {
    "hubert": "HuBERT",
    "large": "HuBERT",
    "contentvec": "ContentVec",
    "wavlm": "WavLM",
    "s3prl": "HuBERT",
}
SPINS = {
    "training": "Spin on HuBERT, a training of this package",
    "wavlm training": "Spin on WavLM, a training of this package",
    "exported": "Spin on HuBERT, exported by this package",
    "reference": "Spin on HuBERT, trained by the original code",
}


def make(name, folder):
    """-> path of a small checkpoint of that kind."""
    path = folder / f"{name}.pt"
    if name in ("hubert", "large", "contentvec"):
        state = fairseq_hubert(**({"normalize": True, **LARGE_FORM} if name == "large" else {}))[1]
        if name == "contentvec":
            state["cfg"]["model"].update(_name="contentvec", encoder_layers_1=3)
            state["model"]["layer_proj.weight"] = torch.zeros(3, 3)
        torch.save(state, path)
    elif name == "wavlm":
        save_microsoft_wavlm(path)
    elif name == "s3prl":
        return S3PRL_FILES / "hubert.pt"
    elif name == "reference":
        make_reference(path)
    else:
        save_spin(path, "wavlm" if name.startswith("wavlm") else "hubert", output_layer=2)
        if name == "exported":
            convert(path, folder / "exported_spin.pt", "spin")
            return folder / "exported_spin.pt"
    return path


@pytest.mark.parametrize("name", [*ENCODERS, *SPINS])
def test_it_says_what_the_model_is(name, tmp_path):
    path = make(name, tmp_path)
    found = inspect_checkpoint(path)
    model = load_spin(path) if name in SPINS else load_encoder(path)
    encoder = model.encoder if name in SPINS else model
    assert found["what"] == {**ENCODERS, **SPINS}[name] and found["bytes"] == path.stat().st_size
    told = found["encoder"]
    assert (told["layers"], told["width"], told["kind"]) == (encoder.num_layers, encoder.width, encoder.config["kind"])
    assert told["parameters"] == sum(parameter.numel() for parameter in encoder.parameters())
    assert told["normalised_input"] is encoder.normalize and told["sample_rate"] == encoder.sample_rate
    assert told["form"].startswith("Large" if name == "large" else "Base")
    samples = told["samples_per_frame"]
    assert encoder.output_lengths(16000 + 10 * samples) - encoder.output_lengths(16000) == 10
    assert told["frames_per_second"] == 16000 / samples
    if name in SPINS:
        assert found["spin"]["output_layer"] == model.output_layer
        assert found["spin"]["codebook_sizes"] == [len(prototypes) for prototypes in model.head.prototypes]
        assert found["spin"]["head_dims"][-1] == model.head.prototypes[0].size(1)
    else:
        assert found["spin"] is None
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("name", ["hubert", "wavlm", "training", "wavlm training", "reference"])
def test_it_names_the_conversions_that_work(name, tmp_path):
    """Guards against a promise that `convert` does not keep, and against one left out."""
    path = make(name, tmp_path)
    promised = inspect_checkpoint(path)["converts_to"]
    for to in WRITERS:
        if to == "onnx":
            pytest.importorskip("onnx")
        if to in promised:
            convert(path, tmp_path / f"out-{to}", to)
        else:
            with pytest.raises(SpinError):
                convert(path, tmp_path / f"out-{to}", to)


@pytest.mark.parametrize(
    "to, what", [("hubert", "HuBERT"), ("hf", "HuBERT"), ("s3prl", "HuBERT"), ("hubert", "WavLM"), ("s3prl", "WavLM")]
)
def test_an_export_says_that_it_was_a_spin(to, what, tmp_path):
    """Guards against a Spin that is taken for a plain HuBERT, although the export says what it is."""
    if (to, what) == ("hubert", "WavLM"):
        pytest.skip("fairseq has no WavLM")
    path = save_spin(tmp_path / "spin.pt", what.lower(), output_layer=2)
    convert(path, tmp_path / "out", to)
    found = inspect_checkpoint(tmp_path / "out")
    assert found["what"] == f"{what}, the encoder of a Spin" and found["made"]["layer"] == 2
    assert found["made"]["base"] == "hubert_base_ls960.pt" and found["made"]["recipe"]["updates"] == 5000
    assert any("[30, 7] units are not in this file" in note for note in found["notes"])
    assert CANNOT_BE_TOLD not in found["notes"]


def test_what_cannot_be_told_is_said(small_hubert, tmp_path):
    assert CANNOT_BE_TOLD in inspect_checkpoint(small_hubert)["notes"]
    assert CANNOT_BE_TOLD not in inspect_checkpoint(make("contentvec", tmp_path))["notes"]


def test_no_model_is_built_and_assumptions_are_notes(monkeypatch, tmp_path, caplog):
    """Guards against an inspection that takes the memory and the time of loading."""
    path = make("reference", tmp_path)
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda *_: pytest.fail("a model was built"))
    notes = inspect_checkpoint(path)["notes"]
    assert any("assumed: " in note and "encoder_attention_heads" in note for note in notes)
    assert not caplog.records


def test_heads_that_the_file_leaves_open(tmp_path):
    """Guards against a file that nothing can be said of, since one number is missing."""
    found = inspect_checkpoint(S3PRL_FILES / "spin_hubert.ckpt")
    assert found["encoder"]["heads"] is None and found["encoder"]["width"] == 32 and HEADS in found["notes"]
    found = inspect_checkpoint(S3PRL_FILES / "spin_hubert.ckpt", {"encoder_attention_heads": 4})
    assert found["encoder"]["heads"] == 4 and HEADS not in found["notes"]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"RIFF\x00\x00", "audio"),
        (b"hello", "no checkpoint"),
        (b"PK\x03\x04 and no more", "not a readable checkpoint"),
    ],
)
def test_files_that_are_no_checkpoints(content, words, tmp_path):
    (tmp_path / "file.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"file.pt: .*{words}"):
        inspect_checkpoint(tmp_path / "file.pt")


def test_other_models_and_folders(tmp_path):
    torch.save({"cfg": {"model": {"_name": "wav2vec2"}, "task": {}}, "model": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="other.pt: a checkpoint of another kind"):
        inspect_checkpoint(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="a folder without"):
        inspect_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        inspect_checkpoint(tmp_path / "gone.pt")
