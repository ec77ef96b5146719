"""This project's own checkpoints, as trained and as exported."""

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.errors import CheckpointError
from spin_fairseq.encoders import SpeechEncoder
from tests.spin_checkpoints import untrained_spin
from tests.small_spin import exported, trained
from tests.small_wavlm import save_microsoft_wavlm

HEAD = {"freeze": "cnn", "output_layer": 2, "head_dims": [20, 8], "codebook_sizes": [16, 30]}


@pytest.fixture(params=["hubert", "wavlm"])
def model(request, small_hubert, tmp_path):
    path = small_hubert if request.param == "hubert" else save_microsoft_wavlm(tmp_path / "wavlm.pt")
    return untrained_spin(path, **HEAD).eval()


@pytest.mark.parametrize("form", [trained, exported])
@torch.no_grad()
def test_the_model_and_its_encoder(model, form, tmp_path):
    torch.save(form(model, HEAD), tmp_path / "spin.pt")
    wave = torch.randn(1, 6000)
    spin = load_spin(tmp_path / "spin.pt")
    for codebook in (0, 1):
        assert torch.equal(spin.extract_scores(wave, codebook=codebook), model.extract_scores(wave, codebook=codebook))
    encoder = load_encoder(tmp_path / "spin.pt")
    assert encoder.num_layers == 3 and not encoder.training and not hasattr(encoder, "head")
    assert torch.equal(encoder.extract_features(wave)[0], model.encoder.extract_features(wave)[0])


def test_unknown_keys_are_reported_once_and_ignored(model, tmp_path, caplog):
    content = exported(model, HEAD)
    content["model"] = {**content["model"], "a_key_of_tomorrow": 1}
    torch.save(content, tmp_path / "spin.pt")
    load_spin(tmp_path / "spin.pt")
    (record,) = caplog.records
    assert record.message.endswith("ignored: a_key_of_tomorrow")


def test_a_spin_model_as_the_base_of_another(model, tmp_path):
    torch.save(exported(model, HEAD), tmp_path / "spin.pt")
    other = untrained_spin(tmp_path / "spin.pt", freeze="cnn", codebook_sizes=[40])
    assert torch.equal(other.encoder.mask_emb, model.encoder.mask_emb) and len(other.head.prototypes[0]) == 40
    SpeechEncoder(other.encoder.config)  # what is saved with it is enough


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"version": 2}, "version 2 of the format; known: 1"),
        ({"version": None}, "version None of the format"),
        ({"model": None}, "the configuration of the encoder, model.encoder, is not in it"),
        ({"model": {"encoder": {"kind": "hubert"}}}, "its configuration lacks 'conv_feature_layers'"),
        ({"state_dict": None}, "there is no state_dict in it"),
        ({"state_dict": {}}, "do not fit the configuration: head_dims has 20"),
    ],
)
def test_exports_of_another_form(changes, message, model, tmp_path):
    torch.save({**exported(model, HEAD), **changes}, tmp_path / "spin.pt")
    for load in (load_spin, load_encoder):
        with pytest.raises(CheckpointError, match=f"spin.pt: .*{message}"):
            load(tmp_path / "spin.pt")


def test_an_encoder_of_an_unknown_kind(model, tmp_path):
    content = exported(model, HEAD)
    content["model"]["encoder"] = {**content["model"]["encoder"], "kind": "data2vec"}
    torch.save(content, tmp_path / "spin.pt")
    with pytest.raises(CheckpointError, match="spin.pt: .*encoder of kind 'data2vec'; known: hubert, wavlm"):
        load_spin(tmp_path / "spin.pt")
