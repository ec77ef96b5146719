"""Find out how a checkpoint, of any format, was made: base, recipe, data, updates."""

import json
import os
from enum import Enum
from typing import Any
from pathlib import Path

from .files import plain

# Sections and keys of a training configuration that make up the recipe, without paths.
_RECIPE = {
    "task": ["perturbation", "perturb_both_views", "min_sample_size", "max_sample_size"],
    "model": ["freeze", "randomize", "layer_lr_decay", "pieces"],
    "criterion": [
        "epsilon",
        "sinkhorn_iterations",
        "temperature",
        "target_mix",
        "hard_targets",
        "codebook_weights",
        "pieces_weight",
    ],
    "optimization": ["max_update", "lr", "clip_norm"],
    "dataset": ["max_tokens"],
}


def plain_values(value: Any) -> Any:
    """Reduce to built-in containers and values, which any unpickler knows: enumerations to their values, the rest to text."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, dict):
        return {str(key): plain_values(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(plain_values(item) for item in value)
    return value if value is None or type(value) in (bool, int, float, str) else str(value)


def last_part(path: str | Path | None) -> str | None:
    """The last part of a path, so that exports do not reveal folders of the training machine."""
    return os.path.basename(os.path.normpath(str(path))) if path else None


def about_of_folder(folder: str) -> dict[str, Any]:
    """What an export of this package for transformers says about itself; {} for another folder."""
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            return {"about": json.load(file).get("spin")}
    except (OSError, ValueError, AttributeError):
        return {}


def what_is_told(state: dict[str, Any]) -> dict[str, Any]:
    """The content of a checkpoint -> {"base", "recipe", "data"}, as far as it says; exports pass this information on."""
    return _told_by_export(state) or _told_by_reference(state) or _told_by_training(state)


def _told_by_export(state):
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
    recipe = {
        key: sections[section][key] for section, keys in _RECIPE.items() for key in keys if key in sections[section]
    }
    if not recipe.get("pieces"):  # Spin's own training has none
        for key in ("pieces", "pieces_weight"):
            recipe.pop(key, None)
    history = state.get("optimizer_history") or []
    if history and isinstance(history[-1], dict):
        recipe["updates"] = history[-1].get("num_updates")
    return {
        "base": last_part(sections["model"].get("checkpoint")),
        "recipe": recipe,
        "data": last_part(sections["task"].get("data")),
    }
