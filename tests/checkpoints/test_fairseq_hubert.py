"""HuBERT checkpoints of fairseq's own classes in all forms and sizes, beside what fairseq computes with them."""

from argparse import Namespace
from dataclasses import asdict

import pytest
import torch
from fairseq.models.hubert.hubert_asr import HubertCtc, HubertCtcConfig
from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig, HubertPretrainingTask
from omegaconf import OmegaConf

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.checkpoints.sizes import rebuild_config
from spin_fairseq.errors import CheckpointError
from tests.checkpoints.parity import assert_every_layer_equal
from tests.small_hubert import BASE_SIZE, LARGE_FORM, fairseq_hubert

NORMALIZED = {**LARGE_FORM, "normalize": True}


def layers_of(model):
    """-> a function from a wave (1, T) to the outputs of all layers of fairseq's HubertModel."""
    return lambda source: [
        model.extract_features(source, output_layer=layer)[0] for layer in range(1, len(model.encoder.layers) + 1)
    ]


def prepare(normalize):
    return lambda wave: torch.nn.functional.layer_norm(wave, wave.shape) if normalize else wave


def assert_same(path, model, normalize=False, **given):
    encoder = load_encoder(path, **given)
    assert encoder.normalize is normalize
    assert_every_layer_equal(encoder, layers_of(model), prepare(normalize))
    return encoder


def fine_tune(path, folder, **options):
    """-> fairseq's HubertCtc over the small HuBERT, and the checkpoint that its training would write."""
    _, state = fairseq_hubert(**options)
    normalize = options.get("normalize", False)
    task = asdict(HubertPretrainingConfig(data=str(folder), normalize=normalize))
    state["cfg"]["task"] = {**task, "_name": "hubert_pretraining"}
    torch.save(state, path)
    (folder / "dict.ltr.txt").write_text("".join(f"{letter} 1\n" for letter in "abcd"))
    task = HubertPretrainingTask.setup_task(
        HubertPretrainingConfig(data=str(folder), fine_tuning=True, labels=["ltr"], normalize=normalize)
    )
    config = HubertCtcConfig(w2v_path=str(path), normalize=normalize, data=str(folder))
    config = Namespace(**vars(config), autoregressive=False)
    model = HubertCtc.build_model(config, task).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # fine-tuned, and so not what the pre-trained file holds
            parameter += 0.01 * torch.randn_like(parameter)
    config = {**vars(config), "_name": "hubert_ctc"}
    return model, {"cfg": {"model": config, "task": {"normalize": normalize}}, "model": model.state_dict()}


@pytest.mark.parametrize("options", [{}, NORMALIZED], ids=["base", "large"])
@pytest.mark.parametrize("form", ["nested", "plain", "old"])
def test_fine_tuned(options, form, tmp_path):
    path = tmp_path / "pretrained.pt"
    model, state = fine_tune(path, tmp_path, **options)
    nested = state["cfg"]["model"]["w2v_args"]
    if form == "plain":
        state["cfg"]["model"]["w2v_args"] = OmegaConf.to_container(nested)
    if form == "old":  # fairseq 0.10: the options of both runs flat
        before = OmegaConf.to_container(nested)
        flat = Namespace(**{**before["task"], **before["model"], "arch": "hubert", "lr": [0.1], "data": "/gone"})
        state["args"] = Namespace(**{**state["cfg"]["model"], "w2v_args": flat, "arch": "hubert_ctc", "max_update": 5})
        del state["cfg"]
    torch.save(state, tmp_path / "fine_tuned.pt")
    path.unlink()  # the fine-tuned file stands alone
    assert_same(tmp_path / "fine_tuned.pt", model.w2v_encoder.w2v_model, bool(options))


def test_fine_tuned_without_the_configuration_of_the_pretraining(tmp_path):
    model, state = fine_tune(tmp_path / "pretrained.pt", tmp_path, **NORMALIZED)
    state["cfg"]["model"]["w2v_args"] = None
    torch.save(state, tmp_path / "fine_tuned.pt")
    assert_same(tmp_path / "fine_tuned.pt", model.w2v_encoder.w2v_model, True, encoder_attention_heads=4)


def test_fine_tuned_from_something_else(tmp_path):
    _, state = fine_tune(tmp_path / "pretrained.pt", tmp_path)
    state["cfg"]["model"]["w2v_args"]["model"]["_name"] = "wav2vec2"
    torch.save(state, tmp_path / "fine_tuned.pt")
    with pytest.raises(CheckpointError, match="fine_tuned.pt: fine-tuned from a wav2vec2, not from a HuBERT"):
        load_encoder(tmp_path / "fine_tuned.pt")
    state["model"] = {"proj.weight": torch.zeros(3)}
    torch.save(state, tmp_path / "fine_tuned.pt")
    with pytest.raises(CheckpointError, match=r"fine_tuned.pt: .*no tensor is named w2v_encoder\.w2v_model\.\*"):
        load_encoder(tmp_path / "fine_tuned.pt")


@pytest.mark.parametrize(
    "key, value", [("normalize", "${model.normalize}"), ("sample_rate", "x"), ("sample_rate", None)]
)
def test_a_task_that_does_not_say_what_the_wave_is(key, value, tmp_path):
    _, state = fairseq_hubert()
    state["cfg"]["task"][key] = value
    torch.save(state, tmp_path / "hubert.pt")
    with pytest.raises(CheckpointError, match=f"hubert.pt: .*task.{key}"):
        load_encoder(tmp_path / "hubert.pt")


CONTENTVEC = {
    "encoder_layers_1": 3,
    "ctr_layers": [-6],
    "logit_temp_ctr": 0.1,
    "num_negatives": 100,
    "cross_sample_negatives": 0,
}


@pytest.mark.parametrize("legacy", [True, False])
def test_contentvec(legacy, tmp_path, caplog):
    """The legacy file calls itself a HuBERT and has its tensors alone; the full one has layers told the speaker."""
    model, state = fairseq_hubert()
    state["cfg"]["model"].update(CONTENTVEC)
    if not legacy:
        state["cfg"]["model"].update(_name="contentvec", extractor_mode="group_norm_masked")
        state["cfg"]["task"]["_name"] = "contentvec_pretraining"
        state["model"] = {**state["model"], "layer_proj.weight": torch.zeros(64, 64)}
        state["model"]["encoder.cond_layer_norm.weight_ln.weight"] = torch.zeros(64, 64)
        for layer in (3, 4, 5):
            state["model"][f"encoder.layers.{layer}.fc1.weight"] = torch.zeros(128, 64)
            state["model"][f"encoder.layers.{layer}.final_layer_norm.weight_ln.weight"] = torch.zeros(64, 64)
    torch.save(state, tmp_path / "contentvec.pt")
    assert assert_same(tmp_path / "contentvec.pt", model).num_layers == 3
    assert not caplog.records  # its keys are known, and not reported


# The sizes of the released models; X-Large has heads of 80, and not of 64 as the others.
SIZES = {
    "base": (12, 768, 3072, 12, {}),
    "large": (24, 1024, 4096, 16, NORMALIZED),
    "xlarge": (48, 1280, 5120, 16, NORMALIZED),
}


@pytest.mark.parametrize("size", SIZES)
def test_released_sizes_are_told_by_the_tensors(size):
    """On shapes alone: the tensors of a real model of that size, without memory behind them."""
    layers, width, inner, heads, form = SIZES[size]
    _, state = fairseq_hubert(**form)

    def stretch(name, tensor):
        lengths = {32: 512, 64: width, 128: inner}
        shape = [lengths.get(length, length) for length in tensor.shape]
        if name == "encoder.pos_conv.0.weight_v":
            shape = [width, width // 16, 128]
        return torch.zeros(1).expand(shape)

    tensors = {name: stretch(name, tensor) for name, tensor in state["model"].items()}
    for layer in range(3, layers):
        tensors.update({n.replace("layers.0.", f"layers.{layer}."): t for n, t in tensors.items() if ".layers.0." in n})
    config = rebuild_config("x.pt", tensors, {})
    told = [config[f"encoder_{key}"] for key in ("layers", "embed_dim", "ffn_embed_dim", "attention_heads")]
    assert told == [layers, width, inner, heads]
    assert (config["conv_pos"], config["conv_pos_groups"]) == (128, 16)
    assert config["extractor_mode"] == ("layer_norm" if form else "default")
    assert config["layer_norm_first"] is bool(form)
    strides = [5, 2, 2, 2, 2, 2, 2]
    assert eval(config["conv_feature_layers"]) == [(512, k, s) for k, s in zip([10, 3, 3, 3, 3, 2, 2], strides)]


@pytest.mark.parametrize("form", [{}, NORMALIZED], ids=["base", "large"])
def test_weight_norm_in_torchs_newer_spelling(form, tmp_path):
    model, state = fairseq_hubert(**form)
    conv = "encoder.pos_conv.0."
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        state["model"][f"{conv}parametrizations.weight.{new}"] = state["model"].pop(conv + old)
    torch.save(state, tmp_path / "hubert.pt")
    assert_same(tmp_path / "hubert.pt", model, bool(form))


@pytest.mark.slow
@torch.no_grad()
def test_base_size(tmp_path):
    model, state = fairseq_hubert(**BASE_SIZE)
    torch.save(state, tmp_path / "hubert_base.pt")
    encoder = load_encoder(tmp_path / "hubert_base.pt")
    wave = torch.randn(1, 8000)
    outputs = encoder.encode_layers(wave)
    for layer in (1, 6, 12):
        expected, _ = model.extract_features(wave, output_layer=layer)
        torch.testing.assert_close(outputs[layer - 1], expected, rtol=0.0, atol=1e-4)
