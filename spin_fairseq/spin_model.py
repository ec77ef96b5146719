"""Spin: a pretrained encoder and a head of prototypes (Chang et al., Interspeech 2023), as a plain torch module."""

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any, Optional
from collections.abc import Mapping

import torch
from torch import nn

from .options import option
from .encoders import AS_USUAL, Encoded, Mode, SpeechEncoder
from .encoders.trainable_layers import freeze, layer_lr_factors, layer_names, parse_list
from .errors import ConfigError
from .modules.prototypes import PrototypeHead

Tensor = torch.Tensor

logger = logging.getLogger(__name__)

LARGEST = 2**20  # of a head or codebook; far above any use, and below what takes all memory


@dataclass
class SpinConfig:
    # Lists are `Any` since fairseq's argument parser would `eval` a typed list; "a,b" and [a, b] both serve.
    checkpoint: str = option("???", "pretrained encoder; its format is detected")
    encoder_keys: Any = option(
        "",
        "settings of the encoder that its checkpoint does not contain, as KEY=VALUE, such as encoder_attention_heads=12; or a list",
    )
    output_layer: Optional[int] = option(  # noqa: UP045  fairseq and omegaconf know no other form
        None, "transformer layer that the head reads, from 1; null: the last"
    )
    freeze: Any = option("cnn,pos,1..10", "layers that are not trained: cnn, pos, 1, 2, ..., ranges as 1..10")
    randomize: Any = option("", "layers whose weights are replaced by random ones before training; names as in freeze")
    frozen_layers_without_dropout: bool = option(False, "run frozen layers without dropout (the recipe keeps it)")
    layer_lr_decay: float = option(
        1.0,
        "the learning rate's factor from each layer to the one below: optimization.lr is that of the head and of "
        "output_layer; cnn and pos are below layer 1; 1: the same for all",
    )
    head_dims: Any = option("256", "widths of the projection's linear layers")
    codebook_sizes: Any = option("256", "number of prototypes of each codebook; the first codebook gives the units")
    codebook_init: str = option(
        "random", "how head and prototypes are initialised: random, or kmeans (on features of the training speech)"
    )
    pieces: int = option(0, "acoustic pieces that the last layer predicts in training; filled in from task.pieces")
    # Both are what some of the reference's models are; a model to be trained here has neither.
    without_l2_norm: bool = option(False, "do not normalise the embeddings")
    prototypes_as_stored: bool = option(False, "do not normalise the prototypes")
    encoder: Any = option(None, "the encoder's own configuration; filled in from the checkpoint, not to be set by hand")


def parse_sizes(key: str, value: Any, smallest: int) -> list[int]:
    """ "256,128" or [256, 128] -> [256, 128]; ConfigError below `smallest`, above LARGEST, or when there is none."""
    try:
        sizes = [int(item) for item in parse_list(value)]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < smallest or max(sizes) > LARGEST:
        raise ConfigError(
            f"{key} is {value}: it must be one or more whole numbers of at least {smallest} and at most {LARGEST}"
        )
    return sizes


class Spin(nn.Module):
    """Encoder, projection, L2 norm, prototypes; `encoder` and `head` are public.

    cfg: SpinConfig, or anything with its attributes. encoder: a SpeechEncoder, whose frozen layers stop asking for
    gradients. Raises ConfigError.
    """

    def __init__(self, cfg: Any, encoder: SpeechEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        layers = encoder.num_layers
        self.output_layer: int = layers if cfg.output_layer is None else cfg.output_layer
        if not 1 <= self.output_layer <= layers:
            raise ConfigError(
                f"model.output_layer is {cfg.output_layer}: the encoder has layers 1..{layers}; choose one"
            )
        if cfg.codebook_init not in ("random", "kmeans"):
            raise ConfigError(f"model.codebook_init is {cfg.codebook_init!r}: it must be random or kmeans")
        self.layer_lr_decay: float = cfg.layer_lr_decay
        if not 0 < self.layer_lr_decay <= 1:
            raise ConfigError(
                f"model.layer_lr_decay is {cfg.layer_lr_decay}: it must be above 0 and at most 1; model.freeze stops layers altogether"
            )
        self.head = PrototypeHead(
            encoder.width,
            parse_sizes("model.head_dims", cfg.head_dims, 1),
            parse_sizes("model.codebook_sizes", cfg.codebook_sizes, 2),
            l2_norm=not cfg.without_l2_norm,
            normalize_prototypes=not cfg.prototypes_as_stored,
        )
        frozen = freeze(encoder, layer_names("model.freeze", cfg.freeze, layers), self.output_layer)
        self._without_dropout = frozen if cfg.frozen_layers_without_dropout else []

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Spin":
        """From a Spin checkpoint's own configuration, with random weights."""
        known = [each.name for each in dataclasses.fields(SpinConfig)]
        unknown = sorted(str(key) for key in config if key not in known and key != "_name")
        if unknown:
            logger.warning(
                f"keys of the model's configuration that are not known here, and ignored: {', '.join(unknown)}"
            )
        cfg = SpinConfig(**{key: config[key] for key in known if key in config})
        return cls(cfg, SpeechEncoder(cfg.encoder))

    def train(self, mode: bool = True) -> "Spin":
        super().train(mode)
        for module in self._without_dropout:
            module.eval()
        return self

    def lr_factors(self) -> dict[nn.Parameter, float]:
        """-> the learning rate's factor of each trained weight, by `layer_lr_decay`, in the order of `parameters()`."""
        factors = layer_lr_factors(self.encoder, self.layer_lr_decay, self.output_layer)
        return {parameter: factors.get(parameter, 1.0) for parameter in self.parameters() if parameter.requires_grad}

    def forward(self, source: Tensor, padding_mask: Tensor | None = None, mode: Mode = AS_USUAL) -> dict[str, Any]:
        """source: (B, T), padding_mask: (B, T) bool ->

        {"scores": list of (B, frames, K) float32 cosines, a codebook each; "valid": (B, frames) bool;
        "features": (B, frames, width), what the head reads}.
        """
        features, frame_mask = self.encoder.encode(source, padding_mask, self.output_layer, mode=mode)
        if frame_mask is None:
            frame_mask = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
        return {"scores": self.head(features), "valid": ~frame_mask, "features": features}

    def extract_features(
        self, source: Tensor, padding_mask: Tensor | None = None, mask: bool = False, ret_conv: bool = False,
        output_layer: int | None = None, mode: Mode = AS_USUAL,
    ) -> Encoded:  # fmt: skip
        """As HubertModel's, for fairseq's own dump scripts: -> (B, frames, width), padding mask of frames or None.

        output_layer: 1-based; None is the layer that the head reads. mode: how it is computed.
        """
        layer = output_layer or self.output_layer
        return self.encoder.extract_features(source, padding_mask, mask, ret_conv, layer, mode)

    def extract_embeddings(self, source: Tensor, padding_mask: Tensor | None = None, mode: Mode = AS_USUAL) -> Tensor:
        """-> (B, frames, head_dims[-1]) float32, of unit length; rows behind an utterance's frames mean nothing."""
        return self.head.embed(self.encoder.encode(source, padding_mask, self.output_layer, mode=mode).features)

    def extract_scores(
        self, source: Tensor, padding_mask: Tensor | None = None, codebook: int = 0, mode: Mode = AS_USUAL
    ) -> Tensor:
        """-> (B, frames, K) float32: cosine with each prototype."""
        return self.head.scores(self.extract_embeddings(source, padding_mask, mode), codebook)

    def extract_units(
        self, source: Tensor, padding_mask: Tensor | None = None, codebook: int = 0, mode: Mode = AS_USUAL
    ) -> Tensor:
        """-> (B, frames) int64: the best prototype of each frame."""
        return self.extract_scores(source, padding_mask, codebook, mode).argmax(-1)
