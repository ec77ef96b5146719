"""Read the checkpoints of this package: those of training, and the self-contained file exported from them."""

import re
from typing import Any

import torch

from ..errors import CheckpointError
from .files import AS_WRITTEN, Checkpoint, plain

NAME = "Spin by this package, trained or exported"

_FORMAT = "spin_fairseq"
_VERSION = 1


def _exported(state):
    return state.get("format") == _FORMAT


def _model(state):
    return plain(plain(state.get("cfg")).get("model"))


def recognises(state: dict[str, Any]) -> bool:
    if _exported(state):
        return True
    return _model(state).get("_name") == "spin" and isinstance(state.get("model"), dict)


def read(path: str, state: dict[str, Any], given: dict[str, Any]) -> Checkpoint:
    """-> Checkpoint with the configuration of a Spin, which includes that of the encoder."""
    if not _exported(state):
        config, tensors = _model(state), state["model"]
    elif state.get("version") != _VERSION:
        raise CheckpointError(f"{path}: version {state.get('version')!r} of the format; known: {_VERSION}")
    else:
        config, tensors = plain(state.get("model")), state.get("state_dict")
        if not isinstance(tensors, dict):
            raise CheckpointError(f"{path}: there is no state_dict in it; {AS_WRITTEN}")
    encoder = plain(config.get("encoder"))
    if not encoder:
        raise CheckpointError(f"{path}: the configuration of the encoder, model.encoder, is not in it; {AS_WRITTEN}")
    _check_head(path, config, tensors)
    if config.get("pieces"):  # R-Spin's linear layer serves its training alone
        tensors = {name: tensor for name, tensor in tensors.items() if not str(name).startswith("pieces.")}
    return Checkpoint(str(path), {**config, "encoder": encoder, "pieces": 0}, tensors)


def _check_head(path, config, tensors):
    """Reject sizes that no tensor of the head has, before memory is allocated for them."""
    head = [tensor for name, tensor in tensors.items() if str(name).startswith("head.")]
    largest = max((max(tensor.shape, default=1) for tensor in head if isinstance(tensor, torch.Tensor)), default=1)
    for key in ("head_dims", "codebook_sizes"):
        for size in re.findall(r"\d+", str(config.get(key))[:1000]):
            if int(size) > largest:
                raise CheckpointError(
                    f"{path}: the tensors do not fit the configuration: {key} has {size}, the head's are up to {largest}; "
                    f"{AS_WRITTEN}"
                )
