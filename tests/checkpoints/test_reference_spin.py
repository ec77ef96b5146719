"""The reference's Lightning checkpoints: sizes, heads and codebooks of all kinds, bad ones; see test_s3prl.py too."""

import logging
import pickle
import re
import sys

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.checkpoints.encoder import read_spin
from spin_fairseq.errors import CheckpointError
from spin_fairseq.spin_model import Spin
from tests.spin_checkpoints import untrained_spin
from tests.checkpoints.parity import waves
from tests.lightning_checkpoint import (
    hyper_parameters,
    lightning_classes,
    random_head,
    reference_tensors,
    save_lightning,
)
from tests.oracles.reference_spin_oracle import reference_spin_oracle
from tests.small_hubert import BASE_SIZE, LARGE_FORM, fairseq_hubert
from tests.small_wavlm import small_wavlm

HEADS = {"encoder_attention_heads": 4}


def make(path, codes=16, hid_dims=(12,), use_layer=3, encoder_options=None, **sections):
    """-> fairseq's HubertModel, the head and the codebook, of a checkpoint that is written to `path`."""
    model, state = fairseq_hubert(**(encoder_options or {}))
    tensors = {name: tensor for name, tensor in state["model"].items() if not name.startswith("final_proj")}
    head, codebook = random_head(model.encoder.embedding_dim, hid_dims, codes)
    parameters = hyper_parameters("HuBERT", codes, hid_dims, use_layer, **sections)
    save_lightning(path, reference_tensors(tensors, head, codebook), parameters)
    return model, head, codebook


@torch.no_grad()
def assert_same(spin, model, head, codebook, l2_norm=True):
    for wave in waves()[1:3]:
        source = torch.nn.functional.layer_norm(wave, wave.shape) if spin.encoder.normalize else wave
        features, _ = model.extract_features(source[None], output_layer=spin.output_layer)
        torch.testing.assert_close(spin.extract_features(wave[None])[0], features, rtol=0.0, atol=1e-4)
        embeddings, logits, codes = reference_spin_oracle(features[0], head, codebook, l2_norm=l2_norm)
        scores = 0.1 * logits
        torch.testing.assert_close(spin.extract_embeddings(wave[None])[0].double(), embeddings, rtol=0.0, atol=1e-4)
        torch.testing.assert_close(spin.extract_scores(wave[None])[0].double(), scores, rtol=0.0, atol=1e-4)
        best, second = scores.topk(2).values.unbind(-1)
        certain = best - second > 1e-4
        assert certain.any()
        assert torch.equal(spin.extract_units(wave[None])[0][certain], codes[certain])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "last.ckpt"


# --- what is read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", [128, 256, 512, 1024, 2048])
def test_numbers_of_codes(codes, path):
    made = make(path, codes=codes)
    assert_same(load_spin(path, **HEADS), *made)


@pytest.mark.parametrize("hid_dims, use_layer", [((12,), 1), ((20, 12), 2), ((20, 16, 12), 3)])
def test_heads_of_several_layers_and_hidden_layers(hid_dims, use_layer, path):
    made = make(path, hid_dims=hid_dims, use_layer=use_layer)
    spin = load_spin(path, **HEADS)
    assert spin.output_layer == use_layer
    assert_same(spin, *made)


def test_without_the_l2_norm(path):
    made = make(path, loss={"l2_norm": False})
    assert_same(load_spin(path, **HEADS), *made, l2_norm=False)


def test_large_form(path):
    made = make(path, encoder_options=LARGE_FORM)
    spin = load_spin(path, **HEADS)
    assert spin.encoder.normalize
    assert_same(spin, *made)


def test_prototypes_are_used_as_they_are_stored(path):
    _, _, codebook = make(path)
    spin = load_spin(path, **HEADS)
    assert torch.equal(spin.head.scores(torch.eye(12)).t(), codebook)
    assert (codebook.norm(dim=1) - 1).abs().max() > 0.01


def test_the_encoder_alone_and_as_a_base_to_train_on(path):
    model, _, _ = make(path, codes=16)
    encoder = load_encoder(path, **HEADS)
    wave = waves()[1][None]
    with torch.no_grad():
        expected, _ = model.extract_features(wave, output_layer=3)
        torch.testing.assert_close(encoder.extract_features(wave)[0], expected, rtol=0.0, atol=1e-4)
    spin = untrained_spin(path, freeze="cnn")
    assert spin.head.normalize_prototypes and len(spin.head.prototypes[0]) == 256


def test_what_was_frozen_is_frozen(path):
    make(path)
    spin = load_spin(path, **HEADS)
    training = {name for name, parameter in spin.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[3] for name in training if name.startswith("encoder.encoder.layers")} == {"1", "2"}
    assert not [name for name in training if "pos_conv" in name or "feature_extractor" in name]
    make(path, encoder={"freeze_all": True})
    assert not [p for p in load_spin(path, **HEADS).encoder.parameters() if p.requires_grad]


def test_what_was_assumed_is_said(path, caplog):
    make(path, encoder_options={"encoder_embed_dim": 128})
    with caplog.at_level(logging.WARNING):
        load_spin(path)
    (record,) = caplog.records
    assert f"{path}: a hubert encoder of 3 layers of width 128" in record.message
    for assumption in ("encoder_attention_heads=2", "conv_feature_layers=[(32, 10, 5), (32, 3, 2)", "normalize=False"):
        assert assumption in record.message


def test_wavlm(path, caplog):
    encoder = small_wavlm()
    head, codebook = random_head(64, (12,), 16)
    save_lightning(path, reference_tensors(encoder.state_dict(), head, codebook), hyper_parameters("WavLM"))
    with caplog.at_level(logging.WARNING):
        spin = load_spin(path, max_distance=20)
    assert "encoder_attention_heads" not in caplog.text  # WavLM's tensors tell it
    wave = waves()[1][None]
    with torch.no_grad():
        embeddings, _, codes = reference_spin_oracle(encoder.extract_features(wave)[0][0], head, codebook)
        torch.testing.assert_close(spin.extract_embeddings(wave)[0].double(), embeddings, rtol=0.0, atol=1e-4)
        assert torch.equal(spin.extract_units(wave)[0], codes)


@pytest.mark.slow
@torch.no_grad()
def test_base_size(path, caplog):
    """As the ten released checkpoints: nothing is given, and nothing is left to guess."""
    made = make(path, codes=2048, hid_dims=(256,), use_layer=12, encoder_options=BASE_SIZE)
    with caplog.at_level(logging.WARNING):
        spin = load_spin(path)
    assert not caplog.records
    assert_same(spin, *made)


# --- the logger inside ------------------------------------------------------------------------------------------


def test_plain_torch_refuses_the_logger_which_does_not_stand_in_our_way(path):
    make(path)
    assert not [name for name in sys.modules if name.startswith("pytorch_lightning")]
    with pytest.raises((pickle.UnpicklingError, ModuleNotFoundError)):
        torch.load(path, weights_only=hasattr(torch.serialization, "add_safe_globals"))
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    assert load_spin(path, **HEADS).output_layer == 3
    assert not [name for name in sys.modules if name.startswith("pytorch_lightning")]


class Calls:
    """Pickles as a call of `function` with `arguments`, and, if given, a state to set."""

    def __init__(self, function, arguments=(), state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("place", ["argument", "state", "item"])
def test_nothing_hides_behind_a_logger(path, tmp_path, place):
    witness = tmp_path / "was_run"
    attack = Calls(exec, (f"open({str(witness)!r}, 'w')",))
    _, state = fairseq_hubert()
    head, codebook = random_head(64, (12,), 16)
    parameters = hyper_parameters()
    with lightning_classes() as (logger_class, attributes):
        inside = {
            "argument": Calls(logger_class, (attack,)),
            "state": Calls(logger_class, (), {"x": attack}),
            "item": attributes(x=attack),
        }[place]
        parameters["trainer"]["profiler"] = inside
        save_lightning(path, reference_tensors(state["model"], head, codebook), parameters)
    with pytest.raises(CheckpointError, match="last.ckpt: refused, since it would build builtins.exec"):
        load_spin(path, **HEADS)
    assert not witness.exists()


def test_functions_of_frameworks_are_not_called(path, tmp_path):
    """Even where such a package is installed: nothing of it is imported."""
    witness = tmp_path / "was_run"
    package = tmp_path / "wandb"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(witness)!r}, 'w')\ndef login(*_): pass\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import wandb

        witness.unlink()
        state = {"x": Calls(wandb.login, ("key",), {"a": 1}), "y": [Calls(wandb.login)]}
        torch.save(state, path)
        del sys.modules["wandb"]
        with pytest.raises(CheckpointError, match="a checkpoint of another kind"):
            load_encoder(path)
        assert "wandb" not in sys.modules and not witness.exists()
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("wandb", None)


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "section, key, value",
    [
        ("encoder", "normalize", True),
        ("encoder", "pre_normalize", True),
        ("encoder", "feat_select", "att"),
        ("pred_head", "activation", "GELU"),
        ("pred_head", "activate_last", True),
    ],
)
def test_options_that_change_the_result_otherwise(section, key, value, path):
    make(path, **{section: {key: value}})
    with pytest.raises(CheckpointError, match=f"last.ckpt: model.{section}.{key} is {value!r}"):
        load_spin(path, **HEADS)


@pytest.mark.parametrize(
    "name, message",
    [
        ("encoder.model.encoder.layers.0.fc1.weight", "encoder_embed_dim cannot be told: encoder.layers.0.fc1.weight"),
        ("encoder.model.encoder.pos_conv.0.weight_v", "conv_pos cannot be told: encoder.pos_conv.0.weight_v"),
        (
            "encoder.model.feature_extractor.conv_layers.0.0.weight",
            "feature_extractor.conv_layers.0.0.weight is missing",
        ),
        ("encoder.model.encoder.layers.1.fc2.bias", r"do not fit[\s\S]*encoder\.encoder\.layers\.1\.fc2\.bias"),
        ("pred_head.layers.0.weight", "pred_head.layers.0.weight is missing"),
        ("pred_head.layers.1.bias", r"do not fit[\s\S]*head\.projection\.2\.bias"),
        ("loss_module.codebook.weight", "not a Spin checkpoint"),
    ],
)
def test_missing_tensors(name, message, path):
    _, state = fairseq_hubert()
    tensors = reference_tensors(state["model"], *random_head(64, (20, 12), 16))
    del tensors[name]
    save_lightning(path, tensors, hyper_parameters(hid_dims=(20, 12)))
    with pytest.raises(CheckpointError, match=f"{re.escape(str(path))}.*{message}"):
        load_spin(path, **HEADS)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("encoder.model.encoder.layers.0.fc1.weight", torch.zeros(3), "encoder_embed_dim cannot be told"),
        ("encoder.model.encoder.layers.1.fc1.weight", torch.zeros(3, 3), r"do not fit[\s\S]*layers\.1\.fc1\.weight"),
        ("pred_head.layers.0.weight", torch.zeros(12, 63), r"do not fit[\s\S]*head\.projection\.0\.weight"),
        ("pred_head.layers.0.weight", "text", "pred_head.layers.0.weight is missing, or not a matrix"),
        ("loss_module.codebook.weight", torch.zeros(16, 11), r"do not fit[\s\S]*head\.prototypes\.0"),
        ("loss_module.codebook.weight", torch.zeros(0, 12), "codebook.weight is missing, or not a matrix"),
    ],
)
def test_shapes_that_disagree(name, value, message, path):
    _, state = fairseq_hubert()
    tensors = {**reference_tensors(state["model"], *random_head(64, (12,), 16)), name: value}
    save_lightning(path, tensors, hyper_parameters())
    with pytest.raises(CheckpointError, match=f"{re.escape(str(path))}.*{message}"):
        load_spin(path, **HEADS)


def test_a_layer_that_is_not_there(path):
    make(path, use_layer=4)
    with pytest.raises(CheckpointError, match="model.output_layer is 4: the encoder has layers 1..3"):
        load_spin(path, **HEADS)


@pytest.mark.parametrize("parameters", [None, 5, {"model": 3}, {"model": {"encoder": [1]}}])
def test_parameters_of_another_form(parameters, path):
    _, state = fairseq_hubert()
    tensors = reference_tensors(state["model"], *random_head(64, (12,), 16))
    torch.save({"state_dict": tensors, "hyper_parameters": parameters}, path)
    with pytest.raises(CheckpointError, match="layers 1..3"):  # the default, layer 12, is not in this small model
        read_spin(path, HEADS).build(Spin.from_config)
