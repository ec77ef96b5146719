"""Small HuBERT models with random weights, made by fairseq itself."""

import torch
from fairseq.data.dictionary import Dictionary
from fairseq.models.hubert.hubert import HubertConfig, HubertModel
from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

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


def fairseq_hubert(normalize=False, seed=0, **options):
    """-> fairseq's own HubertModel with random weights, and the checkpoint that its pre-training would write."""
    torch.manual_seed(seed)
    config = HubertConfig(**{**SMALL, **options})
    dictionary = Dictionary()
    for unit in range(20):
        dictionary.add_symbol(str(unit))
    model = HubertModel(config, HubertPretrainingConfig(data="gone"), [dictionary])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases that do something, as trained ones
                parameter += 0.1 * torch.randn(len(parameter))
    task = {"_name": "hubert_pretraining", "normalize": normalize, "sample_rate": 16000, "data": "/gone"}
    state = {
        "args": None,
        "cfg": {"model": {**vars(config), "_name": "hubert"}, "task": task},
        "model": model.state_dict(),
        "task_state": {"dictionaries": [dictionary]},
        "extra_state": {"epoch": 1},
        "optimizer_history": [
            {"num_updates": 1, "criterion_name": "x", "lr_scheduler_state": {}, "optimizer_name": "x"}
        ],
    }
    return model.eval(), state
