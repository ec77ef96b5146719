"""Model "wavlm" for fairseq, which has no WavLM: the encoder of this package, registered."""

from dataclasses import dataclass
from typing import Any

from fairseq.models import BaseFairseqModel, register_model
from fairseq.models.hubert.hubert import HubertConfig
from omegaconf import OmegaConf

import torch

from ..options import option
from ..encoders import SpeechEncoder
from ..sample_rate import SAMPLE_RATE


@dataclass
class WavLMConfig(HubertConfig):
    """HubertConfig's keys, and those of the relative positions under Microsoft's names; see encoders.EncoderConfig."""

    label_rate: float = 1.0  # HubertConfig asks the task for it
    relative_position_embedding: bool = option(
        True, "add a bias by relative position to the attention; WavLM always does"
    )
    gru_rel_pos: bool = option(True, "gate that bias by the query; WavLM always does")
    num_buckets: int = option(320, "buckets of distances, half of them for each direction")
    max_distance: int = option(800, "frames from which on all distances share a bucket")


@register_model("wavlm", dataclass=WavLMConfig)
class WavLM(SpeechEncoder, BaseFairseqModel):
    """A WavLM that fairseq builds and loads. It extracts features; it cannot be pre-trained.

    As in Microsoft's checkpoints, the table of relative position biases is a weight of layer 1, which always runs. All
    layers use the table. It is frozen and randomised with layer 1, so that it stays as it is while any layer is frozen.
    """

    @classmethod
    def build_model(cls, cfg: Any, task: Any = None) -> "WavLM":
        """Build the model for fairseq. It does not normalise waves, because fairseq's tasks and scripts do that before."""
        sample_rate = getattr(getattr(task, "cfg", None), "sample_rate", SAMPLE_RATE)
        config = OmegaConf.to_container(OmegaConf.create(cfg), resolve=False)
        return cls({**config, "kind": "wavlm", "normalize": False, "sample_rate": sample_rate})

    def forward(
        self, source: torch.Tensor, padding_mask: torch.Tensor | None = None, mask: bool = False,
        output_layer: int | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """What HubertModel returns with features_only=True: {"x": features, (B, frames, width), "features": what enters the
        transformer, of the same shape, "padding_mask": of frames, or None}. Arguments as in `encode`."""
        x, frame_mask = self.encode(source, padding_mask, output_layer, mask)
        conv, _ = self.extract_features(source, padding_mask, ret_conv=True)
        return {"x": x, "features": conv, "padding_mask": frame_mask}
