"""What is exported: the model of any checkpoint, and what is known about it."""

import json
import os
from dataclasses import dataclass
from typing import Any
from pathlib import Path

import torch

from ... import __version__
from ...errors import CheckpointError, ConfigError
from ..encoder import build, read_model
from ..files import read_file
from ..provenance import about_of_folder, last_part, plain_values, what_is_told
from ...encoders import SpeechEncoder


@dataclass
class Source:
    """path: of the file; model: a Spin or an encoder; config: that of the model; about: a description for JSON.

    final_proj: weight and bias of the projection that HuBERT's pre-training uses and our encoders lack, or None.
    """

    path: str
    model: torch.nn.Module
    config: dict[str, Any]
    about: dict[str, Any]
    final_proj: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def is_spin(self) -> bool:
        return hasattr(self.model, "head")

    @property
    def encoder(self) -> SpeechEncoder:
        return self.model.encoder if self.is_spin else self.model

    @property
    def encoder_config(self) -> dict[str, Any]:
        return plain_values(self.encoder.config)

    def require_spin(self, to: str) -> None:
        if not self.is_spin:
            raise CheckpointError(
                f"{self.path}: an encoder alone, without the head and codebook that --to {to} consists of; "
                "train Spin on it, or choose hubert, hf, s3prl or onnx"
            )


def read_source(path: str | Path, given: dict[str, Any] | None = None, codebook: int | None = None) -> Source:
    """given: keys of the encoder's configuration, as for `load_encoder`. codebook: the one that is kept of several; None: all.

    Raises CheckpointError; ConfigError where there is no such codebook.
    """
    path = os.fspath(path)
    checkpoint = read_model(path, given)
    model = build(checkpoint).eval()
    state = about_of_folder(path) if os.path.isdir(path) else read_file(path)
    config, about = plain_values(checkpoint.config), _about(path, model, state)
    if codebook is not None:
        if not hasattr(model, "head"):
            raise ConfigError(f"--codebook is {codebook}: {path} is an encoder alone, without codebooks; leave it out")
        about["codebook"] = f"{codebook} of those with {', '.join(map(str, _codebook_sizes(model)))} units"
        config["codebook_sizes"] = about["codebook_sizes"] = [_keep_codebook(path, model, codebook)]
    return Source(path, model, config, about, _final_proj(model, state))


def _codebook_sizes(model):
    return [len(prototypes) for prototypes in model.head.prototypes]


def _keep_codebook(path, model, codebook):
    """Drop a Spin's other codebooks. -> the size of the one that is left."""
    prototypes = model.head.prototypes
    if not 0 <= codebook < len(prototypes):
        raise ConfigError(f"--codebook is {codebook}: {path} has codebooks 0..{len(prototypes) - 1}")
    model.head.prototypes = torch.nn.ParameterList([prototypes[codebook]])
    return len(prototypes[codebook])


def _final_proj(model, state):
    tensors = state.get("model_weight", state.get("model"))
    if hasattr(model, "head") or not isinstance(tensors, dict):
        return None
    weight, bias = tensors.get("final_proj.weight"), tensors.get("final_proj.bias")
    fits = isinstance(weight, torch.Tensor) and isinstance(bias, torch.Tensor) and weight.dim() == 2
    return (weight, bias) if fits and weight.shape == (len(bias), model.width) else None


def _about(path, model, state):
    encoder = model.encoder if hasattr(model, "head") else model
    about = {
        "file": last_part(path),
        "encoder": f"{encoder.config['kind']}, {encoder.num_layers} layers of {encoder.width}",
    }
    if hasattr(model, "head"):
        about.update(
            layer=model.output_layer,
            head_dims=[layer.out_features for layer in model.head.projection if hasattr(layer, "out_features")],
            codebook_sizes=_codebook_sizes(model),
            prototypes="normalised where they are used"
            if model.head.normalize_prototypes
            else "used as they are stored",
        )
    about.update(what_is_told(state))
    about["version"] = f"spin_fairseq {__version__}"
    return json.loads(json.dumps(plain_values(about)))
