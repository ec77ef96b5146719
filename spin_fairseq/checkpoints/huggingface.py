"""Read HuBERT and WavLM as the transformers library saves them: a folder, or a file of weights in it."""

import json
import os
from typing import Any

from ..encoders.conv_layers import parse_conv_layers
from ..errors import CheckpointError
from .files import AS_WRITTEN, Checkpoint, read_file
from .naming import encoder_tensors, to_fairseq, with_mask_embedding
from .sizes import rebuild_config

NAME = "transformers HuBERT or WavLM"

_ANCHOR = "encoder.pos_conv_embed.conv.bias"
_PARTS = ("masked_spec_embed", "feature_extractor.", "feature_projection.", "encoder.")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_INDEX = ".index.json"
_KINDS = ("hubert", "wavlm")

# fairseq's key -> transformers'.
KEYS = {
    "encoder_layers": "num_hidden_layers",
    "encoder_embed_dim": "hidden_size",
    "encoder_ffn_embed_dim": "intermediate_size",
    "encoder_attention_heads": "num_attention_heads",
    "conv_pos": "num_conv_pos_embeddings",
    "conv_pos_groups": "num_conv_pos_embedding_groups",
    "conv_bias": "conv_bias",
    "layer_norm_first": "do_stable_layer_norm",
    "activation_fn": "hidden_act",
    "dropout": "hidden_dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "dropout_input": "feat_proj_dropout",
    "conv_pos_batch_norm": "conv_pos_batch_norm",
    "feat_proj_layer_norm": "feat_proj_layer_norm",
}
WAVLM_KEYS = {"num_buckets": "num_buckets", "max_distance": "max_bucket_distance"}
_EXTRACTOR_MODES = {"group": "default", "layer": "layer_norm"}

# Options of which fairseq's model has only one form; an absent key means that form.
_FIXED = {
    "feat_extract_activation": "gelu",
    "layer_norm_eps": 1e-5,
    "add_adapter": False,
}
# The activations that have the same name in both libraries.
_ACTIVATIONS = ("gelu", "relu", "tanh")


def recognises(state: dict[str, Any]) -> bool:
    return encoder_tensors(state, _ANCHOR, _PARTS) is not None


def _read_json(path):
    """-> dict, or None where there is no such file."""
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error}); {AS_WRITTEN}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a JSON object; {AS_WRITTEN}")
    return content


def read_folder(folder: str) -> dict[str, Any]:
    """The tensors of a transformers folder, {name: tensor}, from all its files of weights. Raises CheckpointError."""
    for name in _WEIGHTS:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return read_file(path)
        index = _read_json(path + _INDEX)
        if index is not None:
            return _read_shards(folder, path + _INDEX, index.get("weight_map"))
    raise CheckpointError(f"{folder}: a folder without {' or '.join(_WEIGHTS)}; give a file, or a transformers folder")


def _read_shards(folder, index, weight_map):
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{index}: has no weight_map that says which file holds a tensor; {AS_WRITTEN}")
    tensors = {}
    for name in sorted({str(file) for file in weight_map.values()}):
        if os.path.basename(name) != name:
            raise CheckpointError(
                f"{index}: refused, since it names {name!r}, which is not a file of its own folder; {AS_WRITTEN}"
            )
        tensors.update(read_file(os.path.join(folder, name)))
    return tensors


def read(path: str, state: dict[str, Any], given: dict[str, Any]) -> Checkpoint:
    """-> Checkpoint with fairseq's keys and names of tensors.

    The configuration is `config.json` in the same folder, and `preprocessor_config.json` says whether the waveform is
    normalised. What is absent is inferred from the tensors, or assumed, as in `sizes.rebuild_config`.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    config_file = os.path.join(folder, "config.json")
    tensors = with_mask_embedding(to_fairseq(encoder_tensors(state, _ANCHOR, _PARTS)))
    preprocessor = _read_json(os.path.join(folder, "preprocessor_config.json")) or {}
    if "do_normalize" in preprocessor:
        given = {"normalize": bool(preprocessor["do_normalize"]), **given}
    if "sampling_rate" in preprocessor:
        given = {"sample_rate": preprocessor["sampling_rate"], **given}
    config = _read_json(config_file)
    if config is not None:
        given = {**_translate(config_file, config), **given}
    return Checkpoint(str(path), rebuild_config(path, tensors, given), tensors)


def _translate(path, config):
    """config.json -> fairseq's keys. Raises CheckpointError for a model that fairseq cannot represent."""
    kind = config.get("model_type")
    if kind not in _KINDS:
        raise CheckpointError(f"{path}: model_type is {kind!r}; known: {', '.join(_KINDS)}")
    for key, value in _FIXED.items():
        if config.get(key, value) != value:
            raise CheckpointError(f"{path}: {key} is {config[key]!r}; an encoder of fairseq has {value!r}")
    if config.get("hidden_act", "gelu") not in _ACTIVATIONS:
        raise CheckpointError(f"{path}: hidden_act is {config['hidden_act']!r}; known: {', '.join(_ACTIVATIONS)}")
    keys = {**KEYS, **WAVLM_KEYS} if kind == "wavlm" else KEYS
    translated = {key: config[name] for key, name in keys.items() if name in config}
    if "feat_extract_norm" in config:
        mode = _EXTRACTOR_MODES.get(config["feat_extract_norm"])
        if mode is None:
            raise CheckpointError(f"{path}: feat_extract_norm is {config['feat_extract_norm']!r}; known: group, layer")
        translated["extractor_mode"] = mode
    convolutions = [config.get(name) for name in ("conv_dim", "conv_kernel", "conv_stride")]
    if all(isinstance(values, list) for values in convolutions):
        if len({len(values) for values in convolutions}) != 1:
            raise CheckpointError(f"{path}: conv_dim, conv_kernel and conv_stride are not of one length; {AS_WRITTEN}")
        translated["conv_feature_layers"] = repr(parse_conv_layers(repr(list(zip(*convolutions))), path))
    return {"kind": kind, **translated}
