"""Bad files: each refused with the file's name, and nothing in it run."""

import os
import pickle
import re
from argparse import Namespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from fairseq.meters import AverageMeter
from omegaconf import OmegaConf

from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.checkpoints.files import read_file
from spin_fairseq.errors import CheckpointError
from spin_fairseq.models.spin import SpinConfig, SpinModel
from tests.small_hubert import fairseq_hubert


@pytest.fixture
def state():
    return fairseq_hubert()[1]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pt"


def refused(path, message):
    return pytest.raises(CheckpointError, match=f"{re.escape(str(path))}.*{message}")


# --- what is read -----------------------------------------------------------------------------------------------


def test_configuration_and_tensors(state, path):
    torch.save(state, path)
    encoder = load_encoder(path)
    assert (encoder.num_layers, encoder.width, encoder.normalize, encoder.sample_rate) == (3, 64, False, 16000)
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, state["model"][name])
    assert {*state["model"]} - {*encoder.state_dict()} == {"final_proj.weight", "final_proj.bias", "label_embs_concat"}


@pytest.mark.parametrize("form", ["omegaconf", "namespace", "old zip-less file"])
def test_configurations_of_other_fairseq_versions(state, path, form):
    expected = {name: tensor.clone() for name, tensor in state["model"].items()}
    if form == "omegaconf":
        state["cfg"] = OmegaConf.create({key: dict(value) for key, value in state["cfg"].items()})
    if form == "namespace":  # fairseq 0.10: all keys flat in `args`
        keys = {**state["cfg"]["task"], **state["cfg"]["model"], "arch": "hubert"}
        del keys["_name"]
        state["args"], state["cfg"] = Namespace(**keys), None
    torch.save(state, path, _use_new_zipfile_serialization=form != "old zip-less file")
    encoder = load_encoder(path)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.state_dict().items())


def test_what_else_training_leaves_in_a_checkpoint(state, path):
    state["extra_state"].update(
        best=np.float64(0.5),
        counts=np.arange(3),
        seen={1, 2},
        text="ä",
        raw=b"\xff",
        rate=1.5,
        on=True,
        size=torch.Size([2]),
    )
    torch.save(state, path)
    read = read_file(path)["extra_state"]
    assert read["best"] == 0.5 and read["counts"].tolist() == [0, 1, 2] and read["seen"] == {1, 2}
    assert read["text"] == "ä" and read["raw"] == b"\xff" and read["size"] == torch.Size([2])


def test_tensors_that_were_on_a_gpu(state, path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(state, path)
    assert b"cuda:0" in path.read_bytes()
    assert {parameter.device.type for parameter in load_encoder(path).parameters()} == {"cpu"}


def test_objects_of_fairseqs_own_training_are_passed_over(state, path):
    """Older versions left meters in extra_state."""
    state["extra_state"]["train_meters"] = {"loss": AverageMeter()}
    torch.save(state, path)
    assert load_encoder(path).num_layers == 3
    assert not isinstance(read_file(path)["extra_state"]["train_meters"]["loss"], AverageMeter)


def test_unknown_keys_are_reported_once_and_ignored(state, path, caplog):
    state["cfg"]["model"].update(a_key_of_tomorrow=1, another={})
    torch.save(state, path)
    spin = SpinModel.build_model(SpinConfig(checkpoint=str(path), freeze="cnn", randomize="3"))
    (record,) = caplog.records
    assert record.message.startswith(str(path)) and record.message.endswith("ignored: a_key_of_tomorrow, another")
    assert spin.encoder.num_layers == 3 and "another" not in spin.encoder.config


# --- files that are no checkpoints ------------------------------------------------------------------------------


def test_missing(path):
    with refused(path, "no such checkpoint; check model.checkpoint"):
        load_encoder(path)


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 broken", b"\x80\x02}q\x00.", b"\x00" * 4096]
)
def test_not_a_checkpoint(path, content):
    path.write_bytes(content)
    with refused(path, "not a readable checkpoint"):
        load_encoder(path)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.0, 0.999), zip_file=st.booleans())
def test_truncated(tmp_path, whole_file, share, zip_file):
    content = whole_file[zip_file]
    path = tmp_path / "model.pt"
    path.write_bytes(content[: int(share * len(content))])
    with refused(path, "not a readable checkpoint, or truncated"):
        load_encoder(path)


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "model.pt"
    contents = []
    for zip_file in (False, True):
        torch.save(fairseq_hubert()[1], path, _use_new_zipfile_serialization=zip_file)
        contents.append(path.read_bytes())
    return contents


class Malicious:
    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("load", [load_encoder, load_spin])
@pytest.mark.parametrize("kind", ["zip", "old", "pickle"])
def test_nothing_in_the_file_is_run(state, path, tmp_path, load, kind):
    witness = tmp_path / "was_run"
    state["extra_state"]["harmless"] = Malicious(witness)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Malicious(witness)))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(CheckpointError, match=f"{re.escape(str(path))}: .*"):
        load(path)
    assert not witness.exists()


def test_the_error_names_what_would_have_been_built(state, path, tmp_path):
    state["extra_state"]["harmless"] = Malicious(tmp_path / "was_run")
    torch.save(state, path)
    with refused(path, r"refused, since it would build (posix|nt)\.system"):
        load_encoder(path)


def test_torchscript_programs(path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with refused(path, "TorchScript"):
        load_encoder(path)


# --- checkpoints of another kind, or with an inconsistent content ------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"model": {}},
        {"model": {}, "cfg": None, "args": None},
        {"model": {}, "cfg": 5},
        {"model": {}, "cfg": "hubert"},
        {"model": {}, "cfg": {"model": 5, "task": [1]}},
        {"model": {}, "cfg": {"model": "hubert", "task": "x"}},
        {"model": {}, "cfg": {"model": {"_name": "wav2vec2"}, "task": {}}},
        {"model": [], "cfg": {"model": {"_name": "hubert"}, "task": {}}},
        {1: 2},
    ],
)
def test_another_kind(path, content):
    torch.save(content, path)
    with refused(path, "a checkpoint of another kind.*fairseq HuBERT"):
        load_encoder(path)
    with refused(path, "not a Spin checkpoint"):
        load_spin(path)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3)])
def test_no_dictionary(path, content):
    torch.save(content, path)
    with refused(path, f"holds a {type(content).__name__}"):
        load_encoder(path)


def test_a_base_model_is_not_a_spin_checkpoint(small_hubert):
    with refused(small_hubert, "not a Spin checkpoint; train one, or read a base model with load_encoder"):
        load_spin(small_hubert)


def test_convolutions_given_as_code(state, path, tmp_path):
    witness = tmp_path / "was_run"
    state["cfg"]["model"]["conv_feature_layers"] = f"__import__('os').system('touch {witness}')"
    torch.save(state, path)
    with refused(path, "conv_feature_layers is"):
        load_encoder(path)
    assert not witness.exists()


def test_configuration_without_convolutions(state, path):
    del state["cfg"]["model"]["conv_feature_layers"]
    torch.save(state, path)
    with refused(path, "lacks 'conv_feature_layers'"):
        load_encoder(path)


@pytest.mark.parametrize(
    "key, value",
    [
        ("encoder_layers", "many"),
        ("encoder_layers", None),
        ("encoder_embed_dim", 65),
        ("encoder_attention_heads", 5),
        ("encoder_attention_heads", 0),
        ("conv_pos_groups", 7),
        ("conv_pos", "x"),
        ("dropout", 2.0),
        ("activation_fn", "__import__"),
        ("extractor_mode", "other"),
        ("layer_type", "other"),
    ],
)
def test_configuration_out_of_which_no_encoder_can_be_built(state, path, key, value):
    state["cfg"]["model"][key] = value
    torch.save(state, path)
    with refused(path, ""):
        load_encoder(path)


def test_missing_tensors(state, path):
    del state["model"]["encoder.layers.1.fc1.weight"]
    torch.save(state, path)
    with refused(path, r"do not fit.*[\s\S]*encoder\.layers\.1\.fc1\.weight"):
        load_encoder(path)


def test_left_over_tensors(state, path):
    state["model"]["encoder.layers.7.fc1.weight"] = torch.zeros(1)
    torch.save(state, path)
    with refused(path, r"do not fit.*[\s\S]*encoder\.layers\.7\.fc1\.weight"):
        load_encoder(path)


@pytest.mark.parametrize("value", [torch.zeros(3, 3), 5, "text", None])
def test_tensors_of_another_shape_or_none_at_all(state, path, value):
    state["model"]["encoder.layers.1.fc1.weight"] = value
    torch.save(state, path)
    with refused(path, r"do not fit.*[\s\S]*encoder\.layers\.1\.fc1\.weight"):
        load_encoder(path)
