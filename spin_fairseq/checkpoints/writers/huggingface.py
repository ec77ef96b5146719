"""Write a folder for the transformers library: AutoModel loads the encoder; head and codebooks are in a separate file."""

import json
import re
from pathlib import Path

from ...encoders.conv_layers import parse_conv_layers
from ...errors import CheckpointError
from ...files import whole_folder
from ..huggingface import KEYS, WAVLM_KEYS
from .model_card import model_card
from .source import Source

NAME = "transformers"

_NAMES = [
    (re.compile(pattern), name)
    for pattern, name in [
        (r"^mask_emb$", "masked_spec_embed"),
        (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
        (r"^(feature_extractor\.conv_layers\.\d+)\.2\.(1\.)?", r"\1.layer_norm."),
        (r"^layer_norm\.", "feature_projection.layer_norm."),
        (r"^post_extract_proj\.", "feature_projection.projection."),
        (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
        (r"^encoder\.pos_conv\.1\.", "encoder.pos_conv_embed.conv."),
        (r"\.self_attn_layer_norm\.", ".layer_norm."),
        (r"\.fc1\.", ".feed_forward.intermediate_dense."),
        (r"\.fc2\.", ".feed_forward.output_dense."),
        (r"\.self_attn\.grep_a$", ".attention.gru_rel_pos_const"),
        (r"\.self_attn\.grep_linear\.", ".attention.gru_rel_pos_linear."),
        (r"\.self_attn\.relative_attention_bias\.", ".attention.rel_attn_embed."),
        (r"\.self_attn\.", ".attention."),
    ]
]


def transformers_name(name: str, batch_norm: bool = False) -> str:
    """fairseq's or Microsoft's name of a tensor -> transformers'. batch_norm: whether the positional convolution has one."""
    if batch_norm and name.startswith("encoder.pos_conv.0."):
        return name.replace("encoder.pos_conv.0.", "encoder.pos_conv_embed.batch_norm.")
    for pattern, replacement in _NAMES:
        renamed = pattern.sub(replacement, name)
        if renamed != name:
            return renamed
    return name


def _config(source):
    config = source.encoder_config
    kind = config["kind"]
    keys = {**KEYS, **WAVLM_KEYS} if kind == "wavlm" else KEYS
    # An absent key has fairseq's default, which the built encoder knows.
    values = {name: getattr(source.encoder.cfg, key) for key, name in keys.items()}
    convolutions = parse_conv_layers(config["conv_feature_layers"])
    for index, name in enumerate(("conv_dim", "conv_kernel", "conv_stride")):
        values[name] = [layer[index] for layer in convolutions]
    return {
        "architectures": ["WavLMModel" if kind == "wavlm" else "HubertModel"],
        "model_type": kind,
        **{name: str(value) if name == "hidden_act" else value for name, value in values.items()},
        "num_feat_extract_layers": len(convolutions),
        "feat_extract_norm": "layer" if str(source.encoder.cfg.extractor_mode) == "layer_norm" else "group",
        "feat_extract_activation": "gelu",
        "layer_norm_eps": 1e-5,
        "layerdrop": 0.0,
        "torch_dtype": "float32",
        "spin": source.about,
    }


def _preprocessor(source):
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": source.encoder.sample_rate,
        "padding_side": "right",
        "padding_value": 0.0,
        "do_normalize": source.encoder.normalize,
        # Models with a group norm were trained without an attention mask, and must not be given one.
        "return_attention_mask": str(source.encoder.cfg.extractor_mode) == "layer_norm",
    }


def write(source: Source, folder: str | Path) -> None:
    """Write model.safetensors, config.json, preprocessor_config.json, README.md; for Spin also spin_head.safetensors.

    `load_encoder` can read the folder.
    """
    from safetensors.torch import save_file

    if source.encoder.post_extract_proj is None:
        raise CheckpointError(
            f"{source.path}: its convolutions are as wide as its transformer, without a projection between them, "
            "which transformers' models always have"
        )
    cfg = source.encoder.cfg
    if cfg.kind == "wavlm" and (cfg.conv_pos_batch_norm or not cfg.feat_proj_layer_norm):
        raise CheckpointError(
            f"{source.path}: its form is one of HuBERT, which transformers' WavLM cannot have; choose onnx"
        )
    tensors = {
        transformers_name(name, cfg.conv_pos_batch_norm): tensor.contiguous()
        for name, tensor in source.encoder.state_dict().items()
    }
    with whole_folder(folder, CheckpointError) as temporary:
        save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
        if source.is_spin:
            head = {name: tensor.contiguous() for name, tensor in source.model.head.state_dict().items()}
            save_file(head, temporary / "spin_head.safetensors", metadata={"about": json.dumps(source.about)})
        for name, content in (("config.json", _config(source)), ("preprocessor_config.json", _preprocessor(source))):
            (temporary / name).write_text(json.dumps(content, indent=2) + "\n")
        (temporary / "README.md").write_text(model_card(source))
