"""WavLM (Chen et al., 2022, arXiv 2110.13900), which fairseq does not have: HuBERT with gated relative positions.

The weights have the names of Microsoft's checkpoints. Base, Base+ and Large differ in their configuration alone.
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from fairseq.models import register_model
from fairseq.models.hubert.hubert import HubertConfig
from fairseq.models.wav2vec.wav2vec2 import TransformerSentenceEncoderLayer
from fairseq.modules.transformer_sentence_encoder import init_bert_params
from omegaconf import OmegaConf
from torch import nn

from ..errors import ConfigError
from .hubert import HubertEncoder


@dataclass
class WavLMConfig(HubertConfig):
    """HubertConfig's keys, and those of the relative positions under Microsoft's names.

    The configuration of an encoder of kind "wavlm" is a dict of these and "kind", "normalize", "sample_rate". What has
    an effect: extractor_mode, conv_feature_layers, conv_bias, encoder_layers, encoder_embed_dim, encoder_ffn_embed_dim,
    encoder_attention_heads, activation_fn, layer_norm_first, conv_pos, conv_pos_groups, dropout, attention_dropout,
    activation_dropout, dropout_input, and below. The released models have 320 buckets and a max_distance of 800.
    """

    label_rate: float = 1.0  # HubertConfig asks the task for it
    relative_position_embedding: bool = field(
        default=True, metadata={"help": "add a bias by relative position to the attention; WavLM always does"}
    )
    gru_rel_pos: bool = field(default=True, metadata={"help": "gate that bias by the query; WavLM always does"})
    num_buckets: int = field(default=320, metadata={"help": "buckets of distances, half of them for each direction"})
    max_distance: int = field(default=800, metadata={"help": "frames from which on all distances share a bucket"})


class RelativePositionBias(nn.Embedding):
    """A bias for each bucket of distances and each head; weight: (num_buckets, heads)."""

    def __init__(self, num_buckets, heads, max_distance):
        if not 4 <= num_buckets < 4 * max_distance:
            raise ConfigError(f"num_buckets is {num_buckets}: it must be at least 4, and below 4 times max_distance")
        super().__init__(num_buckets, heads)
        self.max_distance = max_distance

    def buckets(self, distances):
        """Key's minus query's position, int64 of any shape -> its bucket, of the same shape.

        Half of the buckets are for keys behind the query. In each half, the first half holds one distance each; the
        widths of the others grow, logarithmically up to max_distance (equation 5 of the paper).
        """
        half = self.num_embeddings // 2
        exact = half // 2
        size = distances.abs()
        growth = torch.log(size.clamp(min=exact).float() / exact) / math.log(self.max_distance / exact)
        far = exact + (growth * (half - exact)).long()
        return half * (distances > 0) + torch.where(size < exact, size, far.clamp(max=half - 1))

    def forward(self, frames):
        """-> (heads, frames, frames): for each head the bias of each query, and each key."""
        position = torch.arange(frames, device=self.weight.device)
        values = super().forward(self.buckets(torch.arange(1 - frames, frames, device=self.weight.device)))
        # The bias depends on the distance alone: 2 * frames - 1 of them are looked up, and then laid out.
        return values.t()[:, position - position[:, None] + frames - 1]


class GatedAttention(nn.Module):
    """Self-attention, to which each query adds its share of the relative position bias."""

    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.grep_linear = nn.Linear(width // heads, 8)
        self.grep_a = nn.Parameter(torch.ones(1, heads, 1, 1))

    def _by_head(self, x):
        """(B, frames, width) -> (B, heads, frames, width / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def gate(self, x):
        """x: (B, frames, width), what enters the attention -> (B, heads, frames, 1): what the bias is multiplied with.

        Two sigmoids for each query and head, as in a gated recurrent unit: the paper's reset gate, and one minus its
        update gate. They read the input and not the projected query, and each is a sum of four outputs of one layer.
        """
        keep, reset = torch.sigmoid(self.grep_linear(self._by_head(x)).unflatten(-1, (2, 4)).sum(-1)).split(1, dim=-1)
        return 2.0 + keep * (reset * self.grep_a - 1.0)

    def forward(self, x, bias, frame_mask=None):
        """x: (B, frames, width), bias: (heads, frames, frames), frame_mask: (B, frames), True at padding -> as x."""
        query, key, value = (self._by_head(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        bias = (self.gate(x) * bias).to(query.dtype)
        if frame_mask is not None:
            bias.masked_fill_(frame_mask[:, None, None], -math.inf)  # in place: nothing else here is as large
        dropout = self.dropout if self.training else 0.0
        result = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
        return self.out_proj(result.transpose(1, 2).flatten(2))


class WavLMLayer(TransformerSentenceEncoderLayer):
    """fairseq's transformer layer with gated attention, batch first; the first layer holds the bias for all of them."""

    def __init__(self, cfg, first):
        super().__init__(
            cfg.encoder_embed_dim,
            cfg.encoder_ffn_embed_dim,
            cfg.encoder_attention_heads,
            cfg.dropout,
            cfg.attention_dropout,
            cfg.activation_dropout,
            cfg.activation_fn,
            cfg.layer_norm_first,
        )
        heads = cfg.encoder_attention_heads
        self.self_attn = GatedAttention(cfg.encoder_embed_dim, heads, cfg.attention_dropout)
        if first:
            self.self_attn.relative_attention_bias = RelativePositionBias(cfg.num_buckets, heads, cfg.max_distance)

    def _feed_forward(self, x):
        return self.dropout3(self.fc2(self.dropout2(self.activation_fn(self.fc1(x)))))

    def forward(self, x, bias, frame_mask=None):
        """As GatedAttention's."""
        if self.layer_norm_first:
            x = x + self.dropout1(self.self_attn(self.self_attn_layer_norm(x), bias, frame_mask))
            return x + self._feed_forward(self.final_layer_norm(x))
        x = self.self_attn_layer_norm(x + self.dropout1(self.self_attn(x, bias, frame_mask)))
        return self.final_layer_norm(x + self._feed_forward(x))


@register_model("wavlm", dataclass=WavLMConfig)
class WavLMEncoder(HubertEncoder):
    """WavLM as an encoder; all but the transformer layers is HubertEncoder's.

    The relative position bias is a weight of layer 1, where the checkpoints have it, and is frozen and randomised with
    it: all layers read it, so a layer that is frozen must find it unchanged, and layer 1 is the one that always runs.
    As a fairseq model it gives features; it has no pre-training objective.
    """

    config_class = WavLMConfig

    def __init__(self, config):
        super().__init__({**config, "encoder_layers": 0})  # fairseq builds the rest
        for key in ("relative_position_embedding", "gru_rel_pos"):
            if not getattr(self.cfg, key):
                raise ConfigError(f"{key} is off: only WavLM with gated relative positions is known")
        self.config = dict(config)
        self.num_layers = self.cfg.encoder_layers = config["encoder_layers"]
        layers = [WavLMLayer(self.cfg, first=index == 0) for index in range(self.num_layers)]
        self.encoder.layers.extend(layers).apply(init_bert_params)

    @classmethod
    def build_model(cls, cfg, task=None):
        """fairseq's door. The wave is not normalised by the model then: fairseq's tasks and scripts do it before."""
        sample_rate = getattr(getattr(task, "cfg", None), "sample_rate", 16000)
        config = OmegaConf.to_container(OmegaConf.create(cfg), resolve=False)
        return cls({**config, "kind": "wavlm", "normalize": False, "sample_rate": sample_rate})

    def _layer_outputs(self, x, frame_mask, last=None):
        bias = self.encoder.layers[0].self_attn.relative_attention_bias(x.size(1))
        for layer in self.encoder.layers[:last]:
            x = layer(x, bias, frame_mask)
            yield x

    def forward(self, source, padding_mask=None, mask=False, output_layer=None):
        """What HubertModel gives with features_only: {"x": features, (B, frames, width), "features": what enters the
        transformer, of the same shape, "padding_mask": of frames, or None}. Arguments as in `encode`."""
        x, conv, frame_mask = self.encode(source, padding_mask, output_layer, mask)
        return {"x": x, "features": conv, "padding_mask": frame_mask}
