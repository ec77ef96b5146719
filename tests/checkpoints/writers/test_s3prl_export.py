"""The exports for s3prl, by its rules of loading; they were also loaded by s3prl 0.4.18 itself, every layer equal."""

import dataclasses

import pytest
import torch
from fairseq.models.hubert.hubert import HubertConfig, HubertModel
from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.checkpoints.writers import convert
from tests.small_hubert import LARGE_FORM
from tests.spin_checkpoints import save_spin

FORMS = {"base": {}, "large form": {"normalize": True, **LARGE_FORM}}


def load(path):
    """As s3prl does, in any torch: nothing but tensors and plain containers."""
    return torch.load(path, map_location="cpu", weights_only=True)


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_hubert_custom(tmp_path, form):
    checkpoint = save_spin(tmp_path / "spin.pt", encoder=FORMS[form])
    convert(checkpoint, tmp_path / "s3prl.pt", "s3prl")
    state = load(tmp_path / "s3prl.pt")

    def config(dataclass, key):  # s3prl drops what its dataclass has not, and fairseq's is the one it was copied from
        names = {field.name for field in dataclasses.fields(dataclass)}
        return dataclass(**{name: value for name, value in state[key].items() if name in names})

    task = config(HubertPretrainingConfig, "task_cfg")
    model = HubertModel(config(HubertConfig, "model_cfg"), task, state["dictionaries_symbols"]).eval()
    model.load_state_dict(state["model_weight"])
    wave = 0.2 + 0.3 * torch.randn(1, 20017, generator=torch.Generator().manual_seed(1))
    source = torch.nn.functional.layer_norm(wave, wave.shape) if task.normalize else wave
    for layer in (1, 2, 3):
        found = model.extract_features(
            source, padding_mask=torch.zeros(wave.shape, dtype=torch.bool), output_layer=layer
        )[0]
        expected = load_spin(checkpoint).extract_features(wave, output_layer=layer)[0]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("form", FORMS)
def test_wavlm_local(tmp_path, form):
    checkpoint = save_spin(tmp_path / "spin.pt", "wavlm", encoder=FORMS[form])
    convert(checkpoint, tmp_path / "s3prl.pt", "s3prl")
    state, encoder = load(tmp_path / "s3prl.pt"), load_spin(checkpoint).encoder
    for key in (
        "encoder_layers",
        "encoder_embed_dim",
        "num_buckets",
        "max_distance",
        "conv_pos",
        "gru_rel_pos",
        "normalize",
    ):
        assert state["cfg"][key] == encoder.config[key]
    assert state["cfg"]["relative_position_embedding"] is True
    assert "encoder.layers.0.self_attn.relative_attention_bias.weight" in state["model"]
    assert state["model"].keys() == load_encoder(tmp_path / "s3prl.pt").state_dict().keys()
