"""Infer the configuration of a HuBERT or WavLM from its tensors, under fairseq's names."""

import logging
import re
from typing import Any

import torch

from ..encoders.conv_layers import parse_conv_layers
from ..errors import CheckpointError
from ..sample_rate import SAMPLE_RATE
from .files import AS_WRITTEN

logger = logging.getLogger(__name__)

# Layers and width -> attention heads, for all released models: Base, Large, X-Large; WavLM has the first two.
_RELEASED = {(12, 768): 12, (24, 1024): 16, (48, 1280): 16}
_RELEASED_KERNELS = [10, 3, 3, 3, 3, 2, 2]

_CONV = "feature_extractor.conv_layers.{}.0.weight"
# The tensor that a size is read from.
_SOURCES = {
    "encoder_layers": "encoder.layers.0.fc1.weight",
    "encoder_embed_dim": "encoder.layers.0.fc1.weight",
    "encoder_ffn_embed_dim": "encoder.layers.0.fc1.weight",
    "conv_pos": "encoder.pos_conv.0.weight_v",
    "conv_pos_groups": "encoder.pos_conv.0.weight_v",
    "convolutions": _CONV.format(0),
}
_BEHIND_BATCH_NORM = "encoder.pos_conv.1.weight"
_LAYER = re.compile(r"encoder\.layers\.(\d{1,6})\.")


def _shape(tensors, name, dimensions):
    tensor = tensors.get(name)
    fits = isinstance(tensor, torch.Tensor) and tensor.dim() == dimensions and tensor.numel()
    return tuple(tensor.shape) if fits else None


def sizes_of(tensors: dict[str, Any]) -> dict[str, Any]:
    """{name: tensor} -> {key of the configuration: size}, as far as the tensors determine it.

    "convolutions" is a list of (width, kernel); the stride cannot be read from a tensor.
    """
    sizes = {}
    layers = {match[1] for match in map(_LAYER.match, tensors) if match}
    if layers:
        sizes["encoder_layers"] = len(layers)
    linear = _shape(tensors, "encoder.layers.0.fc1.weight", 2)
    if linear:
        sizes["encoder_ffn_embed_dim"], sizes["encoder_embed_dim"] = linear
    positions = _shape(tensors, "encoder.pos_conv.0.weight_v", 3) or _shape(tensors, _BEHIND_BATCH_NORM, 3)
    if positions:
        sizes.update(conv_pos=positions[2], conv_pos_groups=max(1, positions[0] // positions[1]))
    bias = _shape(tensors, "encoder.layers.0.self_attn.relative_attention_bias.weight", 2)
    if bias:
        sizes["num_buckets"], sizes["encoder_attention_heads"] = bias
    convolutions = []
    while True:
        shape = _shape(tensors, _CONV.format(len(convolutions)), 3)
        if shape is None:
            break
        convolutions.append((shape[0], shape[2]))
    if convolutions:
        sizes["convolutions"] = convolutions
    return sizes


def check_sizes(path: str, config: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Reject a configuration of a larger model than the tensors are of, before memory is allocated for it."""
    sizes = sizes_of(tensors)
    for key, name in _SOURCES.items():
        if key not in sizes:
            raise CheckpointError(
                f"{path}: the tensors do not fit the configuration: {name} is missing, or of no use; {AS_WRITTEN}"
            )
    told, asked = sizes.pop("convolutions"), parse_conv_layers(config["conv_feature_layers"], path)
    pairs = {key: (config.get(key), size) for key, size in sizes.items() if not key.endswith(("heads", "groups"))}
    pairs["number of convolutions"] = len(asked), len(told)
    pairs["width of a convolution"] = max(layer[0] for layer in asked), max(layer[0] for layer in told)
    pairs["kernel of a convolution"] = max(layer[1] for layer in asked), max(layer[1] for layer in told)
    for key, (value, size) in pairs.items():
        if isinstance(value, (int, float)) and value > size:
            raise CheckpointError(
                f"{path}: the tensors do not fit the configuration: {key} is {value} there, and {size} by the tensors; "
                f"{AS_WRITTEN}"
            )
    layer = 4 * sizes["encoder_embed_dim"] ** 2 + 2 * sizes["encoder_embed_dim"] * sizes["encoder_ffn_embed_dim"]
    numbers = sum(tensor.numel() for tensor in tensors.values() if isinstance(tensor, torch.Tensor))
    if sizes["encoder_layers"] * layer > 2 * numbers:
        raise CheckpointError(
            f"{path}: the tensors do not fit the configuration: {sizes['encoder_layers']} layers as the first would be "
            f"{sizes['encoder_layers'] * layer} numbers, and there are {numbers} in all; {AS_WRITTEN}"
        )


class HeadsLeftOpen(CheckpointError):
    """The number of attention heads is not in the file, and cannot be guessed."""


def _heads(path, width):
    if width % 64:
        raise HeadsLeftOpen(
            f"{path}: the number of attention heads is not in the file, and cannot be guessed for a width of {width}; "
            "give it: --encoder encoder_attention_heads=N, or load_encoder(path, encoder_attention_heads=N)"
        )
    return width // 64


def _strides(kernels):
    """The strides of all known models: the first convolution has a stride of 5 samples, each further one of 2."""
    return [5 if index == 0 else 2 for index in range(len(kernels))]


def _odd_forms(tensors, sizes):
    """Keys for options of which fairseq's encoder has only one form, where these tensors have another."""
    odd = {}
    if _BEHIND_BATCH_NORM in tensors:
        odd["conv_pos_batch_norm"] = True
    if "layer_norm.weight" not in tensors:
        odd["feat_proj_layer_norm"] = False
    if "post_extract_proj.weight" in tensors and sizes["convolutions"][-1][0] == sizes["encoder_embed_dim"]:
        odd["post_extract_proj"] = True
    return odd


def rebuild_config(path: str, tensors: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The configuration of an encoder, from its tensors alone.

    given: keys that the caller knows. Everything else is assumed to be as in the released model of that size, and logged,
    as a warning if there is no such model. Raises CheckpointError if nothing can be inferred.
    """
    sizes = sizes_of(tensors)
    for key, name in _SOURCES.items():
        if key not in sizes:
            raise CheckpointError(
                f"{path}: no configuration in the file, and {key} cannot be told: {name} is missing, or of no use; "
                f"{AS_WRITTEN}"
            )
    kernels = [kernel for _, kernel in sizes["convolutions"]]
    large_form = "feature_extractor.conv_layers.0.2.1.weight" in tensors
    wavlm = "encoder.layers.0.self_attn.grep_a" in tensors
    size = (sizes["encoder_layers"], sizes["encoder_embed_dim"])

    told = {key: value for key, value in sizes.items() if key != "convolutions"}
    told.update(
        kind="wavlm" if wavlm else "hubert",
        extractor_mode="layer_norm" if large_form else "default",
        conv_bias="feature_extractor.conv_layers.0.0.bias" in tensors,
    )
    told.update(_odd_forms(tensors, sizes))
    dropout = 0.0 if large_form else 0.1
    assumed = {
        "layer_norm_first": large_form,
        "normalize": large_form,
        "sample_rate": SAMPLE_RATE,
        "activation_fn": "gelu",
        "dropout": dropout,
        "attention_dropout": dropout,
        "dropout_input": dropout,
        "activation_dropout": 0.0,
    }
    if wavlm:
        gated = "encoder.layers.0.self_attn.grep_linear.weight" in tensors
        told.update(relative_position_embedding=True, gru_rel_pos=gated)
        assumed["max_distance"] = 800
    if "conv_feature_layers" not in given:
        strides = _strides(kernels)
        assumed["conv_feature_layers"] = repr([(*conv, stride) for conv, stride in zip(sizes["convolutions"], strides)])
    if "encoder_attention_heads" not in {*told, *given}:
        assumed["encoder_attention_heads"] = _RELEASED.get(size) or _heads(path, size[1])

    assumed = {key: value for key, value in assumed.items() if key not in given}
    if assumed:
        released = size in _RELEASED and kernels == _RELEASED_KERNELS
        logger.log(
            logging.INFO if released else logging.WARNING,
            f"{path}: a {told['kind']} encoder of {size[0]} layers of width {size[1]}, whose configuration is not in "
            "the file, or not all of it; assumed: " + ", ".join(f"{key}={value}" for key, value in assumed.items()),
        )
    return {**told, **assumed, **given}
