"""Model "wavlm" for fairseq, which has none: the plain encoder, registered."""

from dataclasses import dataclass, field

from fairseq.models import BaseFairseqModel, register_model
from fairseq.models.hubert.hubert import HubertConfig
from omegaconf import OmegaConf

from ..encoders import SpeechEncoder


@dataclass
class WavLMConfig(HubertConfig):
    """HubertConfig's keys, and those of the relative positions under Microsoft's names; see encoders.EncoderConfig."""

    label_rate: float = 1.0  # HubertConfig asks the task for it
    relative_position_embedding: bool = field(
        default=True, metadata={"help": "add a bias by relative position to the attention; WavLM always does"}
    )
    gru_rel_pos: bool = field(default=True, metadata={"help": "gate that bias by the query; WavLM always does"})
    num_buckets: int = field(default=320, metadata={"help": "buckets of distances, half of them for each direction"})
    max_distance: int = field(default=800, metadata={"help": "frames from which on all distances share a bucket"})


@register_model("wavlm", dataclass=WavLMConfig)
class WavLM(SpeechEncoder, BaseFairseqModel):
    """A WavLM that fairseq builds and loads. It gives features, and has no pre-training objective.

    The relative position bias is a weight of layer 1, where the checkpoints have it, and is frozen and randomised with
    it: all layers read it, so a layer that is frozen must find it unchanged, and layer 1 is the one that always runs.
    """

    @classmethod
    def build_model(cls, cfg, task=None):
        """fairseq's door. The wave is not normalised by the model then: fairseq's tasks and scripts do it before."""
        sample_rate = getattr(getattr(task, "cfg", None), "sample_rate", 16000)
        config = OmegaConf.to_container(OmegaConf.create(cfg), resolve=False)
        return cls({**config, "kind": "wavlm", "normalize": False, "sample_rate": sample_rate})

    def forward(self, source, padding_mask=None, mask=False, output_layer=None):
        """What HubertModel gives with features_only: {"x": features, (B, frames, width), "features": what enters the
        transformer, of the same shape, "padding_mask": of frames, or None}. Arguments as in `encode`."""
        x, frame_mask = self.encode(source, padding_mask, output_layer, mask)
        conv, _ = self.extract_features(source, padding_mask, ret_conv=True)
        return {"x": x, "features": conv, "padding_mask": frame_mask}
