"""Write a checkpoint of fairseq's HubertModel, for fairseq without this package, and for other tools that load one."""

from typing import Any
from pathlib import Path

import torch

from ...errors import CheckpointError
from ...files import whole_file
from .source import Source

NAME = "fairseq HuBERT"

# The keys of HubertConfig that define the model; all releases of fairseq that have HuBERT know them.
_KEYS = [
    "extractor_mode", "encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads",
    "activation_fn", "dropout", "attention_dropout", "activation_dropout", "dropout_input", "dropout_features",
    "layer_norm_first", "conv_feature_layers", "conv_bias", "conv_pos", "conv_pos_groups", "feature_grad_mult",
]  # fmt: skip


def _final_proj(source):
    """-> weight, bias, and a description of where they come from."""
    head = source.model.head.projection if source.is_spin else []
    if len(head) == 1:
        return head[0].weight.detach(), head[0].bias.detach(), "the projection of the Spin head"
    if source.final_proj is not None:
        return (*(tensor.clone() for tensor in source.final_proj), "the base's own")  # a copy, not a map of the file
    rows = source.encoder_config.get("final_dim") or source.encoder.width
    return torch.zeros(rows, source.encoder.width), torch.zeros(rows), "zeros"


def refuse_odd_forms(source: Source, to: str) -> None:
    """Raise CheckpointError for an encoder that neither fairseq's model nor Microsoft's, with the same front end, can be."""
    cfg, odd = source.encoder.cfg, None
    if not cfg.feat_proj_layer_norm:
        odd = "has no layer norm behind its convolutions"
    elif cfg.conv_pos_batch_norm:
        odd = "has a batch norm before its positional convolution"
    elif cfg.has_projection and cfg.conv_layers[-1][0] == cfg.encoder_embed_dim:
        odd = "has a projection between convolutions and a transformer of the same width"
    if odd:
        raise CheckpointError(f"{source.path}: {odd}, which --to {to} cannot hold; choose hf, spin or onnx")


def hubert_parts(source: Source, to: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, torch.Tensor]]:
    """-> the keys of HubertConfig, those of the task, and the tensors. Raises CheckpointError for another encoder.

    A HubertModel has a `final_proj`, used in pre-training. For an encoder alone it is that of the base, if the file has it.
    For a Spin whose head is one linear layer it is the head, so that its output is the embedding before the L2 norm.
    Otherwise it is zero.
    """
    config = source.encoder_config
    if config["kind"] != "hubert":
        raise CheckpointError(
            f"{source.path}: --to {to} is for HuBERT, and this is a {config['kind']}; fairseq has none"
        )
    refuse_odd_forms(source, to)
    weight, bias, what = _final_proj(source)
    source.about["final_proj"] = what
    tensors = {**source.encoder.state_dict(), "final_proj.weight": weight, "final_proj.bias": bias}
    rate = 1 / source.encoder.frame_seconds
    model = {"_name": "hubert", **{key: config[key] for key in _KEYS if key in config}, "label_rate": rate}
    model.update(encoder_layerdrop=0.0, final_dim=len(bias), untie_final_proj=False, target_glu=False)
    task = {"_name": "hubert_pretraining", "data": "", "labels": [], "label_rate": rate, "fine_tuning": False}
    task.update(sample_rate=config["sample_rate"], normalize=config["normalize"])
    return model, task, tensors


def write(source: Source, path: str | Path) -> None:
    """Plain containers and tensors alone, so that torch's `weights_only` loads it; `load_encoder` reads it too."""
    model, task, tensors = hubert_parts(source, "hubert")
    with whole_file(path, CheckpointError) as temporary, open(temporary, "wb") as file:
        torch.save(
            {
                "args": None,
                "cfg": {"model": model, "task": task, "criterion": None, "common": {}},
                "model": tensors,
                # A dictionary of labels would have to be read from the training data.
                "task_state": {"dictionaries": [None]},
                "criterion": None,
                "optimizer_history": [
                    {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
                ],
                "extra_state": {"epoch": 1},
                "last_optimizer_state": None,
                "about": source.about,
            },
            file,
        )
