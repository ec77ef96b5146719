"""Read checkpoints of the original implementation of Spin (vectominist/spin), written by PyTorch Lightning.

The tensors of the encoder have fairseq's or Microsoft's names, below `encoder.model.`, but there is no configuration of
it: the shapes give that. `hyper_parameters` is the YAML file that the model was trained with.
"""

import re
from typing import Any

import torch

from ..errors import CheckpointError
from .files import AS_WRITTEN, Checkpoint, plain
from .naming import one_weight_norm
from .sizes import rebuild_config

NAME = "Spin by the reference (.ckpt)"

_CODEBOOK = "loss_module.codebook.weight"
_ENCODER = "encoder.model."
_HEAD = "pred_head.layers.{}.weight"
_HEAD_NAME = re.compile(r"pred_head\.layers\.(\d{1,3})\.(weight|bias)$")

# Options that change the output, with the only value that is supported: (section, key, value).
_FIXED = [
    ("encoder", "normalize", False),
    ("encoder", "pre_normalize", False),
    ("encoder", "feat_select", "x"),
    ("encoder", "disable_pos", False),
    ("pred_head", "activation", "ReLU"),
    ("pred_head", "activate_last", False),
]


def recognises(state: dict[str, Any]) -> bool:
    tensors = state.get("state_dict")
    return isinstance(tensors, dict) and _CODEBOOK in tensors and "hyper_parameters" in state


def read(path: str, state: dict[str, Any], given: dict[str, Any]) -> Checkpoint:
    """-> Checkpoint with the configuration of a Spin; prototypes are used as stored, slightly off unit length."""
    model = plain(plain(state["hyper_parameters"]).get("model"))
    encoder, loss = plain(model.get("encoder")), plain(model.get("loss"))
    for section, key, value in _FIXED:
        found = plain(model.get(section)).get(key, value)
        if found != value:
            raise CheckpointError(f"{path}: model.{section}.{key} is {found!r}; what can be read has {value!r}")

    encoder_tensors, tensors, head = {}, {}, {}
    for name, tensor in one_weight_norm(state["state_dict"]).items():
        in_head = _HEAD_NAME.match(name)
        if name.startswith(_ENCODER) and not name.endswith("label_embs_concat"):
            encoder_tensors[name[len(_ENCODER) :]] = tensors["encoder." + name[len(_ENCODER) :]] = tensor
        elif in_head:
            index, kind = int(in_head[1]), in_head[2]
            tensors[f"head.projection.{2 * index}.{kind}"] = tensor  # an activation stands between two layers
            head.setdefault(index, {})[kind] = tensor
    tensors["head.prototypes.0"] = state["state_dict"][_CODEBOOK]
    encoder_config = rebuild_config(path, encoder_tensors, given)
    layers = range(max(head, default=0) + 1)
    config = {
        "encoder": encoder_config,
        "output_layer": encoder.get("use_layer", 12),
        "freeze": _frozen(encoder, encoder_config["encoder_layers"]),
        "head_dims": [_rows(path, _HEAD.format(index), head.get(index, {}).get("weight")) for index in layers],
        "codebook_sizes": [_rows(path, _CODEBOOK, state["state_dict"][_CODEBOOK])],
        "without_l2_norm": not loss.get("l2_norm", True),
        "prototypes_as_stored": True,
    }
    return Checkpoint(str(path), config, tensors)


def _rows(path, name, tensor):
    if not isinstance(tensor, torch.Tensor) or tensor.dim() != 2 or not tensor.numel():
        raise CheckpointError(f"{path}: {name} is missing, or not a matrix; {AS_WRITTEN}")
    return len(tensor)


def _frozen(encoder, layers):
    """freeze_layers ["pos", 0, 1, ...], where 0 is the convolutions -> the names of model.freeze."""
    if encoder.get("freeze_all"):
        return ["cnn", "pos", f"1..{layers}"]
    return ["cnn" if layer == 0 else str(layer) for layer in encoder.get("freeze_layers") or []]
