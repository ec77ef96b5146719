"""Model "spin": a pretrained encoder and a head of prototypes (Chang et al., Interspeech 2023)."""

import logging
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from omegaconf import MISSING

from ..checkpoints.encoder import read_encoder
from ..errors import ConfigError
from ..modules.prototypes import PrototypeHead
from .encoders import build_encoder
from .trainable_layers import freeze, layer_names, parse_sizes, randomize

logger = logging.getLogger(__name__)


@dataclass
class SpinConfig(FairseqDataclass):
    # Lists are `Any` since fairseq's argument parser would `eval` a typed list; "a,b" and [a, b] both serve.
    checkpoint: str = field(default=MISSING, metadata={"help": "pretrained encoder; its kind is detected"})
    output_layer: Optional[int] = field(
        default=None, metadata={"help": "1-based transformer layer that the head reads; none: the last"}
    )
    freeze: Any = field(
        default="cnn,pos,1..10", metadata={"help": "layers that are not trained: cnn, pos, 1, 2, ..., ranges as 1..10"}
    )
    randomize: Any = field(default="", metadata={"help": "layers that start from random weights; names as in freeze"})
    frozen_layers_without_dropout: bool = field(
        default=False, metadata={"help": "run frozen layers without dropout (the recipe keeps it)"}
    )
    head_dims: Any = field(default="256", metadata={"help": "widths of the projection's linear layers"})
    codebook_sizes: Any = field(
        default="256", metadata={"help": "prototypes of each codebook; the first is the one that gives units"}
    )
    codebook_init: str = field(
        default="random", metadata={"help": "where head and prototypes start: random, or kmeans of the training speech"}
    )
    # Both are what some of the reference's models are; a model to be trained here has neither.
    without_l2_norm: bool = field(default=False, metadata={"help": "leave the embeddings as they are projected"})
    prototypes_as_stored: bool = field(default=False, metadata={"help": "use the prototypes without normalising them"})
    encoder: Any = field(
        default=None,
        metadata={"help": "the encoder's own configuration; filled in from the checkpoint, not to be set by hand"},
    )


@register_model("spin", dataclass=SpinConfig)
class SpinModel(BaseFairseqModel):
    """Encoder, projection, L2 norm, prototypes.

    `encoder` and `head` are public. Trained with two views a batch; used for features, embeddings, scores and units.
    """

    def __init__(self, cfg, encoder):
        super().__init__()
        self.encoder = encoder
        layers = encoder.num_layers
        self.output_layer = layers if cfg.output_layer is None else cfg.output_layer
        if not 1 <= self.output_layer <= layers:
            raise ConfigError(f"model.output_layer is {cfg.output_layer}: the encoder has layers 1..{layers}; choose one")
        if cfg.codebook_init not in ("random", "kmeans"):
            raise ConfigError(f"model.codebook_init is {cfg.codebook_init!r}: it must be random or kmeans")
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
    def build_model(cls, cfg, task=None):
        """fairseq's door. With cfg.encoder set (a Spin checkpoint being loaded) the weights come later; else the
        pretrained encoder is read from cfg.checkpoint."""
        if cfg.encoder:
            return cls(cfg, build_encoder(dict(cfg.encoder)))
        checkpoint = read_encoder(task.launch_path(cfg.checkpoint) if task else cfg.checkpoint)
        encoder = checkpoint.build(build_encoder)
        names = layer_names("model.randomize", cfg.randomize, encoder.num_layers)
        randomize(encoder, names, lambda: build_encoder(checkpoint.config))
        return cls(cfg, encoder)

    @classmethod
    def from_config(cls, config):
        """From a Spin checkpoint's own configuration (a dict or DictConfig), with random weights."""
        known = SpinConfig.__dataclass_fields__
        unknown = sorted(str(key) for key in config if key not in known and key != "_name")
        if unknown:
            logger.warning(f"keys of the model's configuration that are not known here, and ignored: {', '.join(unknown)}")
        cfg = SpinConfig(**{key: config[key] for key in known if key in config})
        return cls(cfg, build_encoder(dict(cfg.encoder)))

    def train(self, mode=True):
        super().train(mode)
        for module in self._without_dropout:
            module.eval()
        return self

    def forward(self, source, padding_mask=None):
        """source: (B, T), padding_mask: (B, T) bool ->

        {"scores": list of (B, frames, K) float32 cosines, a codebook each; "valid": (B, frames) bool}.
        """
        features, _, frame_mask = self.encoder.encode(source, padding_mask, self.output_layer)
        if frame_mask is None:
            frame_mask = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
        return {"scores": self.head(features), "valid": ~frame_mask}

    def extract_features(self, source, padding_mask=None, mask=False, ret_conv=False, output_layer=None):
        """As HubertModel's, for fairseq's own dump scripts: -> (B, frames, width), padding mask of frames or None.

        output_layer: 1-based; None is the layer that the head reads.
        """
        return self.encoder.extract_features(source, padding_mask, mask, ret_conv, output_layer or self.output_layer)

    def extract_embeddings(self, source, padding_mask=None):
        """-> (B, frames, head_dims[-1]) float32, of unit length; rows behind an utterance's frames mean nothing."""
        return self.head.embed(self.extract_features(source, padding_mask)[0])

    def extract_scores(self, source, padding_mask=None, codebook=0):
        """-> (B, frames, K) float32: cosine with each prototype."""
        return self.head.scores(self.extract_embeddings(source, padding_mask), codebook)

    def extract_units(self, source, padding_mask=None, codebook=0):
        """-> (B, frames) int64: the best prototype of each frame."""
        return self.extract_scores(source, padding_mask, codebook).argmax(-1)

    def max_positions(self):
        """No limit."""
        return None
