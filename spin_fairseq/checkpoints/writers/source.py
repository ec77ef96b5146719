"""What is exported: a model out of any checkpoint, and what is known about it."""

import json
import os
from dataclasses import dataclass
from enum import Enum
from typing import Any, Dict, Optional, Tuple

import torch

from ... import __version__
from ...errors import CheckpointError
from ..encoder import read_encoder, read_spin
from ..files import plain, read_file

# Sections and keys of a training configuration that are the recipe. Paths are no part of it.
_RECIPE = {
    "task": ["perturbation", "perturb_both_views", "min_sample_size", "max_sample_size"],
    "model": ["freeze", "randomize"],
    "criterion": ["epsilon", "sinkhorn_iterations", "temperature", "target_mix", "hard_targets"],
    "optimization": ["max_update", "lr", "clip_norm"],
    "dataset": ["max_tokens"],
}


@dataclass
class Source:
    """path: of the file; model: a SpinModel, or an encoder alone; config: SpinModel's, or the encoder's; about: JSON.

    final_proj: weight and bias of a HuBERT's projection for its pre-training, which encoders here do not have; or None.
    """

    path: str
    model: torch.nn.Module
    config: Dict[str, Any]
    about: Dict[str, Any]
    final_proj: Optional[Tuple[torch.Tensor, torch.Tensor]] = None

    @property
    def is_spin(self):
        return hasattr(self.model, "head")

    @property
    def encoder(self):
        return self.model.encoder if self.is_spin else self.model

    @property
    def encoder_config(self):
        return plain_values(self.encoder.config)

    def require_spin(self, to):
        if not self.is_spin:
            raise CheckpointError(
                f"{self.path}: an encoder alone, without the head and codebook that --to {to} consists of; "
                "train Spin on it, or choose hubert, hf, s3prl or onnx"
            )


def plain_values(value):
    """What any unpickler knows: built-in containers and values, enumerations as their values, the rest as text."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, dict):
        return {str(key): plain_values(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(plain_values(item) for item in value)
    return value if value is None or type(value) in (bool, int, float, str) else str(value)


def read_source(path):
    """Raises CheckpointError."""
    from ...models.encoders import build_encoder
    from ...models.spin import SpinModel

    path = os.fspath(path)
    try:
        checkpoint, builder = read_spin(path), SpinModel.from_config
    except CheckpointError:
        checkpoint, builder = read_encoder(path), build_encoder
    model = checkpoint.build(builder).eval()
    state = _transformers_about(path) if os.path.isdir(path) else read_file(path)
    return Source(path, model, plain_values(checkpoint.config), _about(path, model, state), _final_proj(model, state))


def _final_proj(model, state):
    tensors = state.get("model_weight", state.get("model"))
    if hasattr(model, "head") or not isinstance(tensors, dict):
        return None
    weight, bias = tensors.get("final_proj.weight"), tensors.get("final_proj.bias")
    fits = isinstance(weight, torch.Tensor) and isinstance(bias, torch.Tensor) and weight.dim() == 2
    return (weight, bias) if fits and weight.shape == (len(bias), model.width) else None


def _name(path):
    """The last part of a path: exports hold no folders of the machine that trained."""
    return os.path.basename(os.path.normpath(str(path))) if path else None


def _transformers_about(folder):
    """What our export for transformers says of itself; {} for another folder."""
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            return {"about": json.load(file).get("spin")}
    except (OSError, ValueError, AttributeError):
        return {}


def _about(path, model, state):
    encoder = model.encoder if hasattr(model, "head") else model
    about = {"file": _name(path), "encoder": f"{encoder.config['kind']}, {encoder.num_layers} layers of {encoder.width}"}
    if hasattr(model, "head"):
        about.update(
            layer=model.output_layer,
            head_dims=[layer.out_features for layer in model.head.projection if hasattr(layer, "out_features")],
            codebook_sizes=[len(prototypes) for prototypes in model.head.prototypes],
            prototypes="normalised where they are used" if model.head.normalize_prototypes else "used as they are stored",
        )
    about.update(_told_by_export(state) or _told_by_reference(state) or _told_by_training(state))
    about["version"] = f"spin_fairseq {__version__}"
    return json.loads(json.dumps(plain_values(about)))


def _told_by_export(state):
    """Exports pass on what they were told."""
    about = state.get("about")
    return about if isinstance(about, dict) else None


def _told_by_reference(state):
    config = plain(state.get("hyper_parameters"))
    model = plain(config.get("model"))
    if not model:
        return None
    encoder, loss, data = plain(model.get("encoder")), plain(model.get("loss")), plain(config.get("data"))
    recipe = {key: loss[key] for key in ("epsilon", "sinkhorn_iters", "temp", "prob_ratio") if key in loss}
    splits = data.get("splits") or data.get("train") or []
    return {
        "base": encoder.get("type"),
        "recipe": {"trained by": "the reference", "updates": state.get("global_step"), **recipe},
        "data": ", ".join(map(str, splits)) if isinstance(splits, (list, tuple)) else str(splits),
    }


def _told_by_training(state):
    config = plain(state.get("cfg"))
    sections = {name: plain(config.get(name)) for name in ("task", "model", "criterion", "optimization", "dataset")}
    if sections["model"].get("_name") != "spin":
        return {}
    recipe = {key: sections[section][key] for section, keys in _RECIPE.items() for key in keys if key in sections[section]}
    history = state.get("optimizer_history") or []
    if history and isinstance(history[-1], dict):
        recipe["updates"] = history[-1].get("num_updates")
    return {"base": _name(sections["model"].get("checkpoint")), "recipe": recipe, "data": _name(sections["task"].get("data"))}
