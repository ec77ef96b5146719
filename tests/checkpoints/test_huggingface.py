"""Models that transformers made and saved, in each of its forms, beside ours."""

import json
import logging
import re

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.errors import CheckpointError
from tests.checkpoints.parity import assert_every_layer_equal, layers_by_hooks
from tests.small_wavlm import stir

transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 12,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WAVLM = {"num_buckets": 16, "max_bucket_distance": 20}
MODELS = {
    "HubertModel": (transformers.HubertConfig, {}),
    "HubertForCTC": (transformers.HubertConfig, {}),
    "WavLMModel": (transformers.WavLMConfig, WAVLM),
    "WavLMForCTC": (transformers.WavLMConfig, WAVLM),
    "WavLMForXVector": (transformers.WavLMConfig, WAVLM),
}
every_model = pytest.mark.parametrize("name", MODELS)


def make(name, folder, preprocessor=True, normalize=None, **options):
    """-> transformers' model with random weights, saved to the folder."""
    torch.manual_seed(0)
    config_class, kind_options = MODELS[name]
    config = config_class(**{**SMALL, **kind_options, **options})
    model = stir(getattr(transformers, name)(config))
    model.save_pretrained(folder)
    if preprocessor:
        normalize = config.feat_extract_norm == "layer" if normalize is None else normalize
        transformers.Wav2Vec2FeatureExtractor(do_normalize=normalize).save_pretrained(folder)
    return model


def assert_same(path, model, normalize=False, **given):
    encoder = load_encoder(path, **given)
    assert encoder.normalize is normalize and encoder.sample_rate == 16000
    base = getattr(model, model.base_model_prefix, model)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalize)
    assert_every_layer_equal(
        encoder,
        lambda source: layers_by_hooks(base, base.encoder.layers, source),
        lambda wave: torch.from_numpy(extractor(wave.numpy(), sampling_rate=16000)["input_values"][0]),
    )
    return encoder


@every_model
@pytest.mark.parametrize("options", [{}, LARGE], ids=["base", "large"])
def test_every_layer(name, options, tmp_path):
    model = make(name, tmp_path, **options)
    encoder = assert_same(tmp_path, model, normalize=bool(options))
    assert encoder.config["kind"] == ("wavlm" if "WavLM" in name else "hubert")
    mask = model.state_dict()[[key for key in model.state_dict() if key.endswith("masked_spec_embed")][0]]
    assert torch.equal(encoder.mask_emb, mask)


def test_the_final_norm_of_the_large_form_is_read_too(tmp_path):
    model = make("HubertModel", tmp_path, **LARGE)
    assert torch.equal(load_encoder(tmp_path).encoder.layer_norm.bias, model.encoder.layer_norm.bias)


# --- forms of the files -----------------------------------------------------------------------------------------


@every_model
def test_a_file_of_weights_beside_its_configuration(name, tmp_path):
    model = make(name, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "renamed.bin")  # the content tells the form, not the name
    assert_same(tmp_path / "renamed.bin", model)


@pytest.mark.parametrize("spelling", ["old", "new"])
def test_pytorch_model_bin_in_both_spellings_of_weight_norm(spelling, tmp_path):
    model = make("HubertForCTC", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    tensors = model.state_dict()
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, old in names.items() if spelling == "old" else []:
        key = f"hubert.encoder.pos_conv_embed.conv.{new}"
        tensors[key.replace(new, old)] = tensors.pop(key)
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    assert_same(tmp_path, model)


@pytest.mark.parametrize("safe", [True, False])
def test_weights_in_several_files(safe, tmp_path):
    model = make("HubertModel", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    name, save = ("model.safetensors", safetensors.save_file) if safe else ("pytorch_model.bin", torch.save)
    tensors = list(model.state_dict().items())
    weight_map = {}
    for part, share in enumerate((tensors[:20], tensors[20:])):
        save(dict(share), str(tmp_path / f"part{part}"))
        weight_map.update({key: f"part{part}" for key, _ in share})
    (tmp_path / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert_same(tmp_path, model)


def test_a_head_without_a_prefix_is_left_out(tmp_path):
    """As in ContentVec's files for transformers, which have a projection beside the encoder."""
    model = make("HubertModel", tmp_path)
    tensors = {**model.state_dict(), "final_proj.weight": torch.zeros(16, 64), "final_proj.bias": torch.zeros(16)}
    safetensors.save_file(tensors, tmp_path / "model.safetensors")
    assert_same(tmp_path, model)


def test_a_folder_of_links_as_in_the_librarys_cache(tmp_path):
    model = make("HubertModel", tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for file in (tmp_path / "blobs").iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(file)
    (tmp_path / "snapshot" / "README.md").symlink_to(tmp_path / "gone")
    assert_same(tmp_path / "snapshot", model)


def test_half_precision_weights_are_read_as_single(tmp_path):
    model = make("HubertModel", tmp_path)
    model.half().save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    assert encoder.layer_norm.weight.dtype == torch.float32
    assert torch.equal(encoder.layer_norm.weight, model.feature_projection.layer_norm.weight.float())


# --- what is not in the files -----------------------------------------------------------------------------------


def test_weights_alone_with_the_number_of_heads_given(tmp_path, caplog):
    model = make("HubertModel", tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "x")
    (tmp_path / "config.json").unlink()
    (tmp_path / "preprocessor_config.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert_same(tmp_path / "x", model, encoder_attention_heads=4)
    (record,) = caplog.records
    assert "x: a hubert encoder of 3 layers of width 64" in record.message
    assert "normalize=False" in record.message and "conv_feature_layers=[(32, 10, 5)" in record.message
    assert "encoder_attention_heads" not in record.message


def test_the_heads_of_a_wavlm_are_in_its_tensors(tmp_path):
    model = make("WavLMModel", tmp_path)
    (tmp_path / "config.json").unlink()
    assert_same(tmp_path, model, max_distance=20)


def test_heads_that_nothing_tells(tmp_path):
    make("HubertModel", tmp_path, hidden_size=48)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="attention heads is not in the file.*of 48.*encoder_attention_heads="):
        load_encoder(tmp_path)


@pytest.mark.parametrize("options, expected", [({}, False), (LARGE, True)], ids=["base", "large"])
def test_without_a_preprocessor_the_form_tells_whether_the_wave_is_normalised(tmp_path, options, expected):
    make("HubertModel", tmp_path, preprocessor=False, **options)
    assert load_encoder(tmp_path).normalize is expected


def test_the_preprocessor_is_believed(tmp_path):
    model = make("HubertModel", tmp_path, normalize=True)
    assert_same(tmp_path, model, normalize=True)


def test_no_mask_embedding(tmp_path):
    model = make("HubertModel", tmp_path, mask_time_prob=0.0)
    assert "masked_spec_embed" not in model.state_dict()
    assert_same(tmp_path, model)


# --- what is refused --------------------------------------------------------------------------------------------


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "wav2vec2"}, "config.json: model_type is 'wav2vec2'; known: hubert, wavlm"),
        ({"layer_norm_eps": 1e-3}, "layer_norm_eps is 0.001"),
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'; known: gelu"),
        ({"feat_extract_norm": "batch"}, "feat_extract_norm is 'batch'; known: group, layer"),
        ({"conv_kernel": [10, 3]}, "conv_dim, conv_kernel and conv_stride are not of one length"),
        ({"conv_dim": ["__import__('os')"] * 7}, "config.json: conv_feature_layers is"),
        ({"num_hidden_layers": 10**9}, "encoder_layers is 1000000000 there, and 3 by the tensors"),
        ({"hidden_size": 10**9}, "encoder_embed_dim is 1000000000 there, and 64 by the tensors"),
        ({"conv_dim": [10**9] * 7}, "width of a convolution is 1000000000 there, and 32"),
        ({"num_attention_heads": "many"}, "no model can be built"),
        ({"num_hidden_layers": 2}, r"do not fit[\s\S]*encoder\.layers\.2\.fc1"),
    ],
)
def test_configurations_of_something_else(changes, message, tmp_path):
    make("HubertModel", tmp_path)
    edit(tmp_path / "config.json", **changes)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(tmp_path))}.*{message}"):
        load_encoder(tmp_path)


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(CheckpointError, match=f"{re.escape(str(tmp_path))}: a folder without model.safetensors"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("content", ["{", "[1]", "{" * 100000])
def test_a_configuration_that_is_no_json(content, tmp_path):
    make("HubertModel", tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match="config.json: (not readable as JSON|holds a list)"):
        load_encoder(tmp_path)


def test_an_index_names_files_of_its_folder_alone(tmp_path):
    make("HubertModel", tmp_path / "inside")
    (tmp_path / "inside" / "model.safetensors").rename(tmp_path / "outside")
    index = tmp_path / "inside" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../outside"}}))
    with pytest.raises(CheckpointError, match="index.json: refused, since it names '../outside'"):
        load_encoder(tmp_path / "inside")
    index.write_text(json.dumps({"weight_map": {"a": "gone"}}))
    with pytest.raises(CheckpointError, match="inside/gone: no such checkpoint"):
        load_encoder(tmp_path / "inside")
    index.write_text(json.dumps({"metadata": {}}))
    with pytest.raises(CheckpointError, match="index.json: has no weight_map"):
        load_encoder(tmp_path / "inside")


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_truncated_safetensors(share, tmp_path):
    make("HubertModel", tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match="model.safetensors: no readable safetensors file, or truncated"):
        load_encoder(tmp_path)


def test_a_missing_tensor_is_named(tmp_path):
    make("HubertModel", tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = safetensors.load_file(path)
    del tensors["encoder.layers.1.attention.q_proj.bias"]
    safetensors.save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"do not fit[\s\S]*encoder\.layers\.1\.self_attn\.q_proj\.bias"):
        load_encoder(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["HubertModel", "WavLMModel"])
def test_base_size(name, tmp_path, caplog):
    torch.manual_seed(0)
    config = MODELS[name][0]()
    model = stir(getattr(transformers, name)(config))
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    assert_same(tmp_path, model)  # a released size: all that the tensors leave open is known
    assert not caplog.records
