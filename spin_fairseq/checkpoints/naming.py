"""Rename the tensors of transformers and torchaudio to fairseq's names."""

import re
from typing import Any

import torch

from ..errors import CheckpointError
from .files import AS_WRITTEN

_LAYER = r"encoder\.layers\.(\d+)\."
# transformers' names -> fairseq's. Both have the same HuBERT tensors, and Microsoft's WavLM follows fairseq's names.
_RULES = [
    (re.compile(pattern + "$"), name)
    for pattern, name in [
        (r"masked_spec_embed", r"mask_emb"),
        (r"feature_extractor\.conv_layers\.(\d+)\.conv\.(weight|bias)", r"feature_extractor.conv_layers.\1.0.\2"),
        (r"feature_projection\.layer_norm\.(weight|bias)", r"layer_norm.\1"),
        (r"feature_projection\.projection\.(weight|bias)", r"post_extract_proj.\1"),
        (r"encoder\.pos_conv_embed\.batch_norm\.(.+)", r"encoder.pos_conv.0.\1"),
        (_LAYER + r"layer_norm\.(weight|bias)", r"encoder.layers.\1.self_attn_layer_norm.\2"),
        (_LAYER + r"feed_forward\.intermediate_dense\.(weight|bias)", r"encoder.layers.\1.fc1.\2"),
        (_LAYER + r"feed_forward\.output_dense\.(weight|bias)", r"encoder.layers.\1.fc2.\2"),
        (_LAYER + r"attention\.gru_rel_pos_const", r"encoder.layers.\1.self_attn.grep_a"),
        (_LAYER + r"attention\.gru_rel_pos_linear\.(.+)", r"encoder.layers.\1.self_attn.grep_linear.\2"),
        (_LAYER + r"attention\.rel_attn_embed\.(.+)", r"encoder.layers.\1.self_attn.relative_attention_bias.\2"),
        (_LAYER + r"attention\.(.+)", r"encoder.layers.\1.self_attn.\2"),
    ]
]
_CONV_NORM = re.compile(r"feature_extractor\.conv_layers\.(\d+)\.layer_norm\.(weight|bias)$")


def encoder_tensors(tensors: dict[str, Any], anchor: str, parts: tuple[str, ...]) -> dict[str, Any] | None:
    """The tensors of an encoder, without the prefix that they have in a model with a head; None if there is no encoder.

    anchor: a name that every encoder has, from which the prefix is found.
    parts: what names of the encoder start with; other tensors belong to a head.
    """
    names = [name for name in tensors if isinstance(name, str)]
    prefixes = [name[: -len(anchor)] for name in names if name.endswith("." + anchor) or name == anchor]
    if not prefixes:
        return None
    prefix = min(prefixes, key=len)
    stripped = {name[len(prefix) :]: tensors[name] for name in names if name.startswith(prefix)}
    return {name: tensor for name, tensor in stripped.items() if name.startswith(parts)}


def one_weight_norm(tensors: dict[str, Any]) -> dict[str, Any]:
    """Give the two factors of a weight-normed weight their older names, weight_g and weight_v, which fairseq uses.

    A positional convolution whose weight norm was removed, as for an export, gets it back: with the weight as v and its
    norm as g, the product is again the weight, bit for bit.
    """
    old = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    renamed = {}
    for name, tensor in tensors.items():
        name = str(name)
        for new_ending, ending in old.items():
            if name.endswith(new_ending):
                name = name[: -len(new_ending)] + ending
        if name.endswith("encoder.pos_conv.0.weight") and isinstance(tensor, torch.Tensor) and tensor.dim() == 3:
            tensor = tensor.float()
            _, length = torch._weight_norm_interface(tensor, tensor.new_ones(1, 1, tensor.size(2)), 2)
            renamed[name + "_g"], renamed[name + "_v"] = length, torch.where(length > 0, tensor, torch.ones(()))
            continue
        renamed[name] = tensor
    return renamed


def split_attention(path: str, tensors: dict[str, Any]) -> dict[str, Any]:
    """Split torch's fused projection of query, key and value into three, which are views and take no memory."""
    split = {}
    for name, tensor in tensors.items():
        start, fused, kind = name.partition(".in_proj_")
        if not fused:
            split[name] = tensor
            continue
        if not isinstance(tensor, torch.Tensor) or tensor.dim() == 0 or len(tensor) % 3:
            raise CheckpointError(
                f"{path}: {name} does not hold query, key and value, which are three of a size; {AS_WRITTEN}"
            )
        for part, values in zip("qkv", tensor.chunk(3)):
            split[f"{start}.{part}_proj.{kind}"] = values
    return split


def to_fairseq(tensors: dict[str, Any]) -> dict[str, Any]:
    """Rename the tensors of an encoder, without prefix, from transformers' names to fairseq's; unknown names stay."""
    # A norm after each convolution is a layer norm, in a block of its own; a single one is a group norm.
    norm = "2.1" if "feature_extractor.conv_layers.1.layer_norm.weight" in tensors else "2"
    conv = "1" if "encoder.pos_conv_embed.batch_norm.weight" in tensors else "0"
    renamed = {}
    for name, tensor in tensors.items():
        name = name.replace("encoder.pos_conv_embed.conv.", f"encoder.pos_conv.{conv}.", 1)
        for pattern, replacement in _RULES:
            if pattern.match(name):
                name = pattern.sub(replacement, name)
                break
        else:
            name = _CONV_NORM.sub(rf"feature_extractor.conv_layers.\1.{norm}.\2", name)
        renamed[name] = tensor
    return one_weight_norm(renamed)


def with_mask_embedding(tensors: dict[str, Any]) -> dict[str, Any]:
    """Add zeros for the mask embedding if the file lacks it; only masking, as in pre-training, uses it."""
    width = tensors.get("encoder.layer_norm.weight")
    if "mask_emb" in tensors or not isinstance(width, torch.Tensor):
        return tensors
    return {**tensors, "mask_emb": torch.zeros(width.shape)}
