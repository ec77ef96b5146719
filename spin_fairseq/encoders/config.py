"""The configuration of an encoder: the size and form of a HuBERT or WavLM."""

import dataclasses
import logging
from dataclasses import dataclass
from enum import Enum
from typing import Any
from collections.abc import Mapping

from ..errors import CheckpointError, ConfigError
from ..sample_rate import SAMPLE_RATE
from .conv_layers import parse_conv_layers

logger = logging.getLogger(__name__)

KINDS = ("hubert", "wavlm")

# Keys of fairseq's configurations that change nothing in an encoder's features: they belong to pre-training (losses,
# layerdrop), to other layer types, or to how fairseq computes.
_WITHOUT_EFFECT = frozenset(
    """label_rate encoder_layerdrop dropout_features final_dim untie_final_proj logit_temp target_glu feature_grad_mult
    mask_min_space no_mask_overlap mask_other mask_channel_min_space no_mask_channel_overlap mask_channel_other
    latent_temp skip_masked skip_nomask checkpoint_activations required_seq_len_multiple crop_seq_to_multiple
    depthwise_conv_kernel_size attn_type pos_enc_type fp16 _name""".split()
)


@dataclass
class EncoderConfig:
    """Keys under fairseq's names, with the defaults of its HubertConfig; those of WavLM under Microsoft's names.

    Widths and kernels are in frames or channels; dropouts are probabilities.
    """

    kind: str = "hubert"  # or "wavlm": with gated relative positions
    normalize: bool = False  # each wave to zero mean and unit variance, before anything else
    sample_rate: int = SAMPLE_RATE  # Hz
    extractor_mode: str = "default"  # group norm behind the first convolution; "layer_norm": a layer norm behind each
    conv_feature_layers: str = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"  # (width, kernel, stride) of each
    conv_bias: bool = False
    feat_proj_layer_norm: bool = True  # a layer norm behind the convolutions; DistilHuBERT has none
    post_extract_proj: bool | None = None  # None: where the widths differ, as in fairseq; transformers always has it
    encoder_layers: int = 12
    encoder_embed_dim: int = 768
    encoder_ffn_embed_dim: int = 3072
    encoder_attention_heads: int = 12
    activation_fn: str = "gelu"
    layer_type: str = "transformer"
    layer_norm_first: bool = False
    conv_pos: int = 128  # kernel of the positional convolution
    conv_pos_groups: int = 16
    conv_pos_batch_norm: bool = False  # a batch norm before the positional convolution, whose weight has no weight norm
    pos_conv_depth: int = 1
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    dropout_input: float = 0.0
    mask_prob: float = 0.65  # of `extract_features(mask=True)` alone, as the following
    mask_length: int = 10
    mask_selection: str = "static"
    mask_channel_prob: float = 0.0
    mask_channel_length: int = 10
    mask_channel_selection: str = "static"
    relative_position_embedding: bool = True
    gru_rel_pos: bool = True
    num_buckets: int = 320  # of distances, half of them for each direction
    max_distance: int = 800  # frames from which on all distances share a bucket

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CheckpointError(f"encoder of kind {self.kind!r}; known: {', '.join(KINDS)}")
        if self.layer_type != "transformer":
            raise ConfigError(f"encoder with layer_type {self.layer_type!r}; only transformer layers are known")
        if self.pos_conv_depth != 1:
            raise ConfigError(f"encoder with pos_conv_depth {self.pos_conv_depth!r}; only 1 is known")
        if self.extractor_mode not in ("default", "layer_norm"):
            raise ConfigError(f"encoder with extractor_mode {self.extractor_mode!r}; known: default, layer_norm")
        for key in ("dropout", "attention_dropout", "activation_dropout", "dropout_input"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"{key} is {getattr(self, key)}: it must be a probability, between 0 and 1")
        if self.encoder_embed_dim % self.encoder_attention_heads:
            raise ConfigError(
                f"encoder_embed_dim is {self.encoder_embed_dim} and encoder_attention_heads "
                f"{self.encoder_attention_heads}: the first must be a multiple of the second"
            )
        if self.kind == "wavlm":
            for key in ("relative_position_embedding", "gru_rel_pos"):
                if not getattr(self, key):
                    raise ConfigError(f"{key} is off: only WavLM with gated relative positions is known")

    @property
    def conv_layers(self) -> list[tuple[int, int, int]]:
        """(width, kernel, stride) of each convolution of the front end."""
        return parse_conv_layers(self.conv_feature_layers)

    @property
    def has_projection(self) -> bool:
        """Whether a linear layer stands between the front end and the transformer."""
        if self.post_extract_proj is None:
            return self.conv_layers[-1][0] != self.encoder_embed_dim
        return self.post_extract_proj

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "EncoderConfig":
        """From a checkpoint's configuration; keys that are unknown are reported in the log."""
        unknown = sorted(str(key) for key in config if key not in KNOWN_KEYS)
        if unknown:
            logger.warning(f"keys of the encoder's configuration that are not known here: {', '.join(unknown)}")
        values = {field.name: config[field.name] for field in dataclasses.fields(cls) if field.name in config}
        return cls(**{key: value.value if isinstance(value, Enum) else value for key, value in values.items()})


KNOWN_KEYS = _WITHOUT_EFFECT | {field.name for field in dataclasses.fields(EncoderConfig)}
