"""Microsoft's WavLM checkpoints: what is read, and what is refused with the file's name."""

import re

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.checkpoints.encoder import read_encoder
from spin_fairseq.errors import CheckpointError
from tests.small_hubert import LARGE_FORM
from tests.small_wavlm import microsoft_wavlm


@pytest.fixture
def path(tmp_path):
    return tmp_path / "named_by_nobody.bin"


def refused(path, message):
    return pytest.raises(CheckpointError, match=f"{re.escape(str(path))}[\\s\\S]*{message}")


@pytest.mark.parametrize("options", [{}, {**LARGE_FORM, "normalize": True}], ids=["base", "large"])
@torch.no_grad()
def test_configuration_tensors_and_result(path, options):
    encoder, state = microsoft_wavlm(**options)
    torch.save(state, path)
    loaded = load_encoder(path)
    assert (loaded.num_layers, loaded.width, loaded.sample_rate) == (3, 64, 16000)
    assert loaded.config["kind"] == "wavlm" and loaded.normalize == bool(options) and not loaded.training
    assert all(torch.equal(tensor, state["model"][name]) for name, tensor in loaded.state_dict().items())
    source = torch.randn(1, 8000)
    assert torch.equal(loaded.extract_features(source)[0], encoder.extract_features(source)[0])


def test_keys_that_are_absent_have_microsofts_defaults(path):
    _, state = microsoft_wavlm()
    for key in ("normalize", "max_distance"):
        del state["cfg"][key]
    torch.save(state, path)
    config = read_encoder(path).config
    assert config["normalize"] is False and config["max_distance"] == 1280


def test_what_training_set_and_an_encoder_has_no_use_for_is_read_over(path):
    _, state = microsoft_wavlm(mask_prob=0.8, encoder_layerdrop=0.05, feature_grad_mult=0.1)
    torch.save(state, path)
    assert load_encoder(path).num_layers == 3


def test_without_gated_relative_positions(path):
    _, state = microsoft_wavlm()
    state["cfg"]["gru_rel_pos"] = False
    torch.save(state, path)
    with refused(path, "gru_rel_pos is off"):
        load_encoder(path)


def test_convolutions_given_as_code(path, tmp_path):
    _, state = microsoft_wavlm()
    witness = tmp_path / "was_run"
    state["cfg"]["conv_feature_layers"] = f"__import__('os').system('touch {witness}')"
    torch.save(state, path)
    with refused(path, "conv_feature_layers is"):
        load_encoder(path)
    assert not witness.exists()


TABLE, GATE = "encoder.layers.0.self_attn.relative_attention_bias.weight", "encoder.layers.1.self_attn.grep_a"


@pytest.mark.parametrize("name", [TABLE, GATE])
def test_missing_tensors(path, name):
    _, state = microsoft_wavlm()
    del state["model"][name]
    torch.save(state, path)
    with refused(path, re.escape(name)):
        load_encoder(path)


@pytest.mark.parametrize("name, message", [(TABLE, "num_buckets is 16 there, and 3 by the tensors"), (GATE, GATE)])
def test_tensors_of_another_shape(path, name, message):
    _, state = microsoft_wavlm()
    state["model"][name] = torch.zeros(3, 3)
    torch.save(state, path)
    with refused(path, message):
        load_encoder(path)


@pytest.mark.parametrize(
    "key, value",
    [
        ("encoder_attention_heads", 5),
        ("encoder_attention_heads", 0),
        ("encoder_layers", "many"),
        ("encoder_layers", None),
        ("num_buckets", 2),
        ("num_buckets", "x"),
        ("max_distance", 1),
        ("max_distance", None),
        ("activation_fn", "glu"),
        ("dropout", 2.0),
    ],
)
def test_configurations_out_of_which_no_encoder_can_be_built(path, key, value):
    _, state = microsoft_wavlm()
    state["cfg"][key] = value
    torch.save(state, path)
    with refused(path, ""):
        load_encoder(path)
