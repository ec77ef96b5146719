"""State dicts of models that torchaudio made, beside ours."""

import logging
from importlib.util import find_spec

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.errors import CheckpointError
from tests.checkpoints.parity import assert_every_layer_equal
from tests.other_wavlms import _torchaudio_without_its_libraries
from tests.small_wavlm import stir

if find_spec("torchaudio") is None:
    pytest.skip("torchaudio is not installed", allow_module_level=True)
with _torchaudio_without_its_libraries():
    from torchaudio import models

SMALL = {
    "extractor_conv_layer_config": [(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32, 2, 2)] * 2,
    "encoder_embed_dim": 64,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 32,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 3,
    "encoder_num_heads": 4,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 128,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.1,
    "encoder_layer_drop": 0.0,
}
BUCKETS = {"encoder_num_buckets": 16, "encoder_max_distance": 20}
BASE = {"extractor_mode": "group_norm", "extractor_conv_bias": False, "encoder_layer_norm_first": False}
LARGE = {"extractor_mode": "layer_norm", "extractor_conv_bias": True, "encoder_layer_norm_first": True}
form = pytest.mark.parametrize("options", [BASE, LARGE], ids=["base", "large"])


def assert_same(path, model, tensors=None, normalize=False, **given):
    torch.save(model.state_dict() if tensors is None else tensors, path)
    encoder = load_encoder(path, **given)
    assert encoder.normalize is normalize
    prepare = (lambda wave: torch.nn.functional.layer_norm(wave, wave.shape)) if normalize else (lambda wave: wave)
    assert_every_layer_equal(encoder, lambda source: model.extract_features(source)[0], prepare)
    return encoder


@form
@pytest.mark.parametrize("aux", [None, 5], ids=["encoder", "with an output layer"])
def test_hubert(options, aux, tmp_path):
    torch.manual_seed(0)
    model = stir(models.wav2vec2_model(**SMALL, **options, aux_num_out=aux))
    encoder = assert_same(tmp_path / "x", model, normalize=options is LARGE, encoder_attention_heads=4)
    assert encoder.config["kind"] == "hubert"


@form
def test_wavlm(options, tmp_path):
    torch.manual_seed(0)
    model = stir(models.wavlm_model(**SMALL, **options, **BUCKETS, aux_num_out=None))
    encoder = assert_same(tmp_path / "x", model, normalize=options is LARGE, max_distance=20)
    assert encoder.config["kind"] == "wavlm"


def test_model_of_the_pretraining(tmp_path):
    torch.manual_seed(0)
    masking = {
        f"mask{channel}_{key}": value
        for channel in ("", "_channel")
        for key, value in {"prob": 0.1, "selection": "static", "other": 0.0, "length": 10}.items()
    }
    overlap = {f"no_mask{channel}_overlap": False for channel in ("", "_channel")}
    overlap.update({f"mask{channel}_min_space": 1 for channel in ("", "_channel")})
    loss = {"skip_masked": False, "skip_nomask": False, "num_classes": 20, "final_dim": 16, "feature_grad_mult": 0.1}
    model = stir(models.hubert_pretrain_model(**SMALL, **BASE, **masking, **overlap, **loss))
    assert_same(tmp_path / "x", model.wav2vec2, model.state_dict(), encoder_attention_heads=4)


def test_weight_norm_in_its_older_spelling(tmp_path):
    model = stir(models.wav2vec2_model(**SMALL, **BASE, aux_num_out=None))
    tensors = model.state_dict()
    conv = "encoder.transformer.pos_conv_embed.conv."
    for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
        tensors[conv + old] = tensors.pop(f"{conv}parametrizations.weight.{new}")
    assert_same(tmp_path / "x", model, tensors, encoder_attention_heads=4)


def test_the_number_of_heads_is_assumed_and_said(tmp_path, caplog):
    sizes = {**SMALL, "encoder_embed_dim": 128, "encoder_num_heads": 2}
    model = stir(models.wav2vec2_model(**sizes, **BASE, aux_num_out=None))
    with caplog.at_level(logging.WARNING):
        assert_same(tmp_path / "x", model)
    (record,) = caplog.records
    assert "encoder_attention_heads=2" in record.message


def test_the_number_of_heads_that_nothing_tells(tmp_path):
    model = models.wav2vec2_model(**{**SMALL, "encoder_embed_dim": 80}, **BASE, aux_num_out=None)
    torch.save(model.state_dict(), tmp_path / "x")
    with pytest.raises(
        CheckpointError,
        match="x: the number of attention heads .* width of 80; give it: --encoder encoder_attention_heads=N",
    ):
        load_encoder(tmp_path / "x")


@pytest.mark.parametrize("value", [torch.zeros(191, 64), torch.tensor(1.0), "text"])
def test_a_fused_projection_of_another_shape(value, tmp_path):
    model = models.wavlm_model(**SMALL, **BASE, **BUCKETS, aux_num_out=None)
    tensors = {**model.state_dict(), "encoder.transformer.layers.1.attention.attention.in_proj_weight": value}
    torch.save(tensors, tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"x: encoder\.layers\.1\.attention\.in_proj_weight does not hold query"):
        load_encoder(tmp_path / "x")


@pytest.mark.slow
@pytest.mark.parametrize("make", [models.hubert_base, models.wavlm_base])
def test_base_size(make, tmp_path, caplog):
    torch.manual_seed(0)
    with caplog.at_level(logging.WARNING):
        assert_same(tmp_path / "x", stir(make()))
    assert not caplog.records
