"""Small HuBERT models with random weights, made by fairseq itself where it is installed."""

from importlib.util import find_spec

import pytest
import torch

from spin_fairseq.encoders import SpeechEncoder

LARGE_FORM = {"extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True}
NO_DROPOUT = dict.fromkeys(["dropout", "attention_dropout", "activation_dropout", "dropout_input"], 0.0)
SMALL = {
    "encoder_layers": 3,
    "encoder_embed_dim": 64,
    "encoder_ffn_embed_dim": 128,
    "encoder_attention_heads": 4,
    "conv_feature_layers": "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2",
    "conv_pos": 32,
    "conv_pos_groups": 4,
    "label_rate": 50.0,
}
BASE_SIZE = {
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
    "conv_pos": 128,
    "conv_pos_groups": 16,
}


def hubert_checkpoint(normalize=False, seed=0, **options):
    """-> the checkpoint of a small HuBERT: what fairseq's pre-training would write of its own model.

    Without fairseq, tensors of ours take the same places, and the configuration holds the keys given alone.
    """
    if find_spec("fairseq") is not None:
        return fairseq_hubert(normalize, seed, **options)[1]
    config = {**SMALL, **options}
    encoder = SpeechEncoder({**config, "kind": "hubert", "normalize": normalize, "sample_rate": 16000})
    torch.manual_seed(seed)
    width = encoder.width
    tensors = {**encoder.state_dict(), "label_embs_concat": torch.rand(20, width)}
    tensors.update({"final_proj.weight": torch.randn(width, width) / width**0.5, "final_proj.bias": torch.zeros(width)})
    return _checkpoint(config, normalize, _stirred(tensors), None)


def fairseq_hubert(normalize=False, seed=0, **options):
    """-> fairseq's own HubertModel with random weights, and the checkpoint that its pre-training would write.

    Skips the test where fairseq is not installed.
    """
    pytest.importorskip("fairseq", reason="needs fairseq's own HuBERT")
    from fairseq.data.dictionary import Dictionary
    from fairseq.models.hubert.hubert import HubertConfig, HubertModel
    from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

    torch.manual_seed(seed)
    config = HubertConfig(**{**SMALL, **options})
    dictionary = Dictionary()
    for unit in range(20):
        dictionary.add_symbol(str(unit))
    model = HubertModel(config, HubertPretrainingConfig(data="gone"), [dictionary])
    _stirred(dict(model.named_parameters()))
    return model.eval(), _checkpoint(vars(config), normalize, model.state_dict(), dictionary)


@torch.no_grad()
def _stirred(tensors):
    """Norms and biases that do something, as trained ones; -> the tensors, changed in place."""
    for tensor in tensors.values():
        if tensor.dim() == 1:
            tensor += 0.1 * torch.randn(len(tensor))
    return tensors


def _checkpoint(config, normalize, tensors, dictionary):
    task = {"_name": "hubert_pretraining", "normalize": normalize, "sample_rate": 16000, "data": "/gone"}
    return {
        "args": None,
        "cfg": {"model": {**config, "_name": "hubert"}, "task": task},
        "model": tensors,
        "task_state": {"dictionaries": [dictionary]},
        "extra_state": {"epoch": 1},
        "optimizer_history": [
            {"num_updates": 1, "criterion_name": "x", "lr_scheduler_state": {}, "optimizer_name": "x"}
        ],
    }
