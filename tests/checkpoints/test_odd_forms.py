"""Encoders of forms that fairseq's own HubertModel lacks, as transformers makes them: read exactly, and written again."""

import json

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.checkpoints.writers import convert
from spin_fairseq.errors import CheckpointError
from tests.checkpoints.parity import assert_every_layer_equal, layers_by_hooks
from tests.small_wavlm import stir

transformers = pytest.importorskip("transformers")
pytest.importorskip("safetensors")

SMALL = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
FORMS = {
    "a projection between equal widths": {"conv_dim": [48] * 7},
    "a batch norm before the positional convolution": {"conv_pos_batch_norm": True},
    "no layer norm behind the convolutions": {"feat_proj_layer_norm": False},
}
each_form = pytest.mark.parametrize("form", FORMS)


def saved(folder, **options):
    """-> transformers' HubertModel with random weights, saved to the folder."""
    torch.manual_seed(0)
    model = stir(transformers.HubertModel(transformers.HubertConfig(**{**SMALL, **options})))
    norm = model.encoder.pos_conv_embed.batch_norm
    if norm is not None:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    model.save_pretrained(folder)
    return model


def assert_same(path, model, **given):
    encoder = load_encoder(path, **given)
    assert_every_layer_equal(encoder, lambda source: layers_by_hooks(model, model.encoder.layers, source))
    return encoder


@each_form
@torch.no_grad()
def test_every_layer_equals_transformers(tmp_path, form):
    """Guards against a refusal of these files, and against a form that is taken for fairseq's."""
    model = saved(tmp_path / "hf", **FORMS[form])
    encoder = assert_same(tmp_path / "hf", model)
    rows = torch.zeros(2, 6000)
    rows[0], rows[1, :4000] = torch.randn(6000), torch.randn(4000)
    padding = torch.zeros(2, 6000, dtype=torch.bool)
    padding[1, 4000:] = True
    together, alone = encoder.encode(rows, padding).features, encoder.encode(rows[1:, :4000]).features[0]
    torch.testing.assert_close(together[1, : len(alone)], alone, rtol=1e-4, atol=2e-5)


@each_form
@torch.no_grad()
def test_the_tensors_tell_the_form(tmp_path, form):
    """Guards against a form that is known from config.json alone."""
    model = saved(tmp_path / "hf", **FORMS[form])
    (tmp_path / "hf" / "config.json").unlink()
    assert_same(tmp_path / "hf", model, encoder_attention_heads=4)


@each_form
@torch.no_grad()
def test_exports(tmp_path, form):
    """Guards against an export that loses what is odd, and one that other tools then read wrongly."""
    saved(tmp_path / "hf", **FORMS[form])
    convert(tmp_path / "hf", tmp_path / "again", "hf")
    again = transformers.HubertModel.from_pretrained(tmp_path / "again").eval()
    assert_same(tmp_path / "hf", again)
    assert_same(tmp_path / "again", again)
    assert json.loads((tmp_path / "again" / "config.json").read_text())["conv_pos_batch_norm"] == ("batch" in form)
    for to in ("hubert", "s3prl"):
        with pytest.raises(CheckpointError, match=f"hf: .*--to {to} cannot hold; choose hf, spin or onnx"):
            convert(tmp_path / "hf", tmp_path / "out.pt", to)
    onnxruntime = pytest.importorskip("onnxruntime")
    convert(tmp_path / "hf", tmp_path / "model.onnx", "onnx")
    wave = torch.randn(1, 7000)
    (found,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"wave": wave.numpy()})
    torch.testing.assert_close(
        torch.from_numpy(found), load_encoder(tmp_path / "hf").encode(wave).features, rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
def test_a_positional_convolution_without_its_weight_norm(tmp_path):
    """Guards against a refusal of files whose weight norm was folded in; in our form the weight is the same, bit for bit."""
    model = saved(tmp_path / "hf")
    conv = model.encoder.pos_conv_embed.conv
    torch.nn.utils.parametrize.remove_parametrizations(conv, "weight")
    conv.weight[:, :, 3] = 0.0  # a tap of no length has no direction
    state = dict(model.state_dict())
    torch.save(state, tmp_path / "folded.bin")
    encoder = assert_same(tmp_path / "folded.bin", model, encoder_attention_heads=4)
    assert torch.equal(encoder.encoder.pos_conv["0"].weight, conv.weight)
    convert(tmp_path / "folded.bin", tmp_path / "fairseq.pt", "hubert", {"encoder_attention_heads": 4})
    assert_same(tmp_path / "fairseq.pt", model)
