"""Make the fixtures of this folder: small models of s3prl's own classes, and what s3prl computes with them.

    pip install s3prl==0.4.18 torch torchaudio        # in an environment of its own
    python -m tests.checkpoints.s3prl.make_fixtures

hubert.pt is a converted HuBERT, wavlm.pt a WavLM, as s3prl reads them; spin_hubert.ckpt and spin_wavlm.ckpt are
checkpoints as the reference trains them on those two. expected.npz has the output of every layer for each file and wave,
and for the last two the embeddings, logits and codes, which this script computes from the layer that use_layer names.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from s3prl.upstream.hubert.expert import UpstreamExpert as HubertExpert
from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig
from s3prl.upstream.wavlm.expert import UpstreamExpert as WavLMExpert
from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

from tests.lightning_checkpoint import hyper_parameters, random_head, reference_tensors, save_lightning

HERE = Path(__file__).parent
LENGTHS = (400, 3000, 8017)
SIZES = {
    "encoder_layers": 3,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 40,
    "encoder_attention_heads": 4,
    "conv_feature_layers": "[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2",
    "conv_pos": 16,
    "conv_pos_groups": 4,
}
WAVLM = {"relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 16, "max_distance": 20}
CODES, HID_DIMS, USE_LAYER, TEMPERATURE = 24, (20, 12), 2, 0.1


def stir(model):
    """Norms, biases and gates that do something, as trained ones."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += (1.0 if name.endswith("relative_attention_bias.weight") else 0.1) * torch.randn_like(parameter)
    return model.eval()


def save_hubert(path):
    task, config = HubertPretrainingConfig(label_rate=50.0), HubertConfig(label_rate=50.0, final_dim=8, **SIZES)
    model = stir(HubertModel(config, task, [["0", "1"]]))
    state = {"task_cfg": vars(task), "model_cfg": vars(config), "model_weight": model.state_dict()}
    torch.save({**state, "dictionaries_symbols": [["0", "1"]]}, path)
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("final_proj")}


def save_wavlm(path):
    cfg = {**SIZES, **WAVLM, "normalize": False}
    model = stir(WavLM(WavLMConfig(cfg)))
    torch.save({"cfg": cfg, "model": model.state_dict()}, path)
    return model.state_dict()


@torch.no_grad()
def main():
    torch.manual_seed(0)
    waves = [0.1 + torch.randn(length) for length in LENGTHS]
    expected = {f"wave{index}": wave for index, wave in enumerate(waves)}
    for kind, save, expert_class in (("hubert", save_hubert, HubertExpert), ("wavlm", save_wavlm, WavLMExpert)):
        encoder = save(HERE / f"{kind}.pt")
        expert = expert_class(str(HERE / f"{kind}.pt")).eval()
        head, codebook = random_head(SIZES["encoder_embed_dim"], HID_DIMS, CODES)
        parameters = hyper_parameters({"hubert": "HuBERT", "wavlm": "WavLM"}[kind], CODES, HID_DIMS, USE_LAYER)
        save_lightning(HERE / f"spin_{kind}.ckpt", reference_tensors(encoder, head, codebook), parameters)
        for index, wave in enumerate(waves):
            layers = expert([wave])["hidden_states"][1:]
            z = layers[USE_LAYER - 1]
            for number, (weight, bias) in enumerate(head):
                z = F.linear(z, weight, bias)
                z = F.relu(z) if number < len(head) - 1 else z
            z = F.normalize(z, dim=-1)
            logits = F.linear(z, codebook) / TEMPERATURE
            expected[f"{kind}{index}.layers"] = torch.cat(layers)
            expected.update({f"{kind}{index}.embeddings": z[0], f"{kind}{index}.logits": logits[0]})
            expected[f"{kind}{index}.codes"] = logits[0].argmax(-1)
    np.savez_compressed(HERE / "expected.npz", **{name: value.numpy() for name, value in expected.items()})


if __name__ == "__main__":
    main()
