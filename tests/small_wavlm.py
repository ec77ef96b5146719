"""Small WavLM models with random weights, and the form in which Microsoft publishes its own."""

import torch

from spin_fairseq.encoders import SpeechEncoder
from tests.small_hubert import SMALL

# Distances of 4 frames and more share buckets, and those from 20 on share one: short waves meet all of them.
SMALL_WAVLM = {
    **{key: value for key, value in SMALL.items() if key != "label_rate"},
    "relative_position_embedding": True,
    "gru_rel_pos": True,
    "num_buckets": 16,
    "max_distance": 20,
}
BASE_WAVLM = {
    "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
    "relative_position_embedding": True,
    "gru_rel_pos": True,
    "num_buckets": 320,
    "max_distance": 800,
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "conv_pos": 128,
    "conv_pos_groups": 16,
}


def stir(model):
    """Norms, biases, gates and position biases that do something, as trained ones; -> the model in eval mode."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("relative_attention_bias.weight", "rel_attn_embed.weight")):
                parameter += torch.randn_like(parameter)
            elif parameter.dim() == 1 or "grep_" in name or "gru_" in name:
                parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def wavlm_config(normalize=False, **options):
    """The configuration of an encoder; options are WavLMConfig's keys."""
    return {**SMALL_WAVLM, **options, "kind": "wavlm", "normalize": normalize, "sample_rate": 16000}


def small_wavlm(seed=0, **options):
    """-> a SpeechEncoder with random weights, in eval mode."""
    torch.manual_seed(seed)
    return stir(SpeechEncoder(wavlm_config(**options)))


def microsoft_wavlm(seed=0, **options):
    """-> a SpeechEncoder with random weights, and what Microsoft would publish of it."""
    encoder = small_wavlm(seed, **options)
    cfg = {key: value for key, value in encoder.config.items() if key not in ("kind", "sample_rate")}
    return encoder, {"cfg": cfg, "model": encoder.state_dict()}


def save_microsoft_wavlm(path, **options):
    """-> the path, with a checkpoint as Microsoft's written to it."""
    torch.save(microsoft_wavlm(**options)[1], path)
    return path
