"""Model "spin" for fairseq: the Spin of spin_model.py, registered and built from fairseq's configuration."""

from dataclasses import dataclass
from typing import Any

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
import torch
from torch import nn

from .. import spin_model
from ..checkpoints.encoder import read_encoder
from ..checkpoints.given import encoder_keys
from ..encoders import SpeechEncoder
from ..encoders.trainable_layers import layer_names, randomize


@dataclass
class SpinConfig(spin_model.SpinConfig, FairseqDataclass):
    """The keys of spin_model.SpinConfig, as a dataclass of fairseq's."""


@register_model("spin", dataclass=SpinConfig)
class SpinModel(spin_model.Spin, BaseFairseqModel):
    """A Spin that fairseq trains, saves and loads.

    With cfg.pieces it has R-Spin's linear layer as well, `pieces`, which predicts acoustic pieces: a part of the training,
    which `load_spin` and exports leave out.
    """

    def __init__(self, cfg: Any, encoder: SpeechEncoder):
        super().__init__(cfg, encoder)
        self.pieces = nn.Linear(encoder.width, cfg.pieces) if cfg.pieces else None

    def forward(self, source: torch.Tensor, padding_mask: torch.Tensor | None = None, **options: Any) -> dict[str, Any]:
        """As Spin's; with cfg.pieces also "pieces": (B, frames, pieces) logits."""
        output = super().forward(source, padding_mask, **options)
        return {**output, "pieces": self.pieces(output["features"])} if self.pieces is not None else output

    @classmethod
    def build_model(cls, cfg: Any, task: Any = None) -> "SpinModel":
        """Build the model for fairseq. When a Spin checkpoint is loaded, cfg.encoder is set, and fairseq fills in the weights
        afterwards. Otherwise the pretrained encoder is read from cfg.checkpoint."""
        if cfg.encoder:
            return cls(cfg, SpeechEncoder(cfg.encoder))
        given = encoder_keys(cfg.encoder_keys, "model.encoder_keys")
        checkpoint = read_encoder(task.launch_path(cfg.checkpoint) if task else cfg.checkpoint, given)
        encoder = checkpoint.build(SpeechEncoder)
        names = layer_names("model.randomize", cfg.randomize, encoder.num_layers)
        randomize(encoder, names, lambda: SpeechEncoder(checkpoint.config))
        return cls(cfg, encoder)

    def max_positions(self) -> None:
        """None: utterances may have any length."""
        return None
