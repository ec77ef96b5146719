"""Model "spin" for fairseq: the plain Spin, registered, and built from a configuration of fairseq's."""

from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model

from .. import spin_model
from ..checkpoints.encoder import read_encoder
from ..checkpoints.given import encoder_keys
from ..encoders import SpeechEncoder
from ..encoders.trainable_layers import layer_names, randomize


@dataclass
class SpinConfig(spin_model.SpinConfig, FairseqDataclass):
    """The same keys, where fairseq looks for them."""


@register_model("spin", dataclass=SpinConfig)
class SpinModel(spin_model.Spin, BaseFairseqModel):
    """A Spin that fairseq trains, saves and loads."""

    @classmethod
    def build_model(cls, cfg, task=None):
        """fairseq's door. With cfg.encoder set (a Spin checkpoint being loaded) the weights come later; else the
        pretrained encoder is read from cfg.checkpoint."""
        if cfg.encoder:
            return cls(cfg, SpeechEncoder(cfg.encoder))
        given = encoder_keys(cfg.encoder_keys, "model.encoder_keys")
        checkpoint = read_encoder(task.launch_path(cfg.checkpoint) if task else cfg.checkpoint, given)
        encoder = checkpoint.build(SpeechEncoder)
        names = layer_names("model.randomize", cfg.randomize, encoder.num_layers)
        randomize(encoder, names, lambda: SpeechEncoder(checkpoint.config))
        return cls(cfg, encoder)

    def max_positions(self):
        """No limit."""
        return None
