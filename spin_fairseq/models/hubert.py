"""fairseq's HubertModel as an encoder: no pre-training head, and nothing computed or kept that is not needed."""

import dataclasses
import logging
import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from fairseq.models.hubert.hubert import HubertConfig, HubertModel

from ..checkpoints.conv_layers import parse_conv_layers
from ..errors import ConfigError

logger = logging.getLogger(__name__)

# What the reader of the checkpoint adds to the keys of fairseq's configuration.
_OWN_KEYS = {"kind", "normalize", "sample_rate"}


def _fairseq_config(config_class, config):
    """A checkpoint's configuration as fairseq's dataclass, with its defaults; keys that are unknown are reported."""
    known = {field.name for field in dataclasses.fields(config_class)}
    unknown = sorted(set(config) - known - _OWN_KEYS)
    if unknown:
        logger.warning(f"keys of the encoder's configuration that this fairseq does not know: {', '.join(unknown)}")
    result = config_class(**{key: value for key, value in config.items() if key in known})
    # The rate of the pre-training labels is of no use here, and its default refers to a task that is not there.
    result.label_rate = 1.0
    result.conv_feature_layers = repr(parse_conv_layers(config["conv_feature_layers"]))
    result.encoder_layerdrop = 0.0
    return result


def _valid_group_norm(norm, x, lengths):
    """GroupNorm with one channel a group, over the first `lengths` frames of each row alone.

    x: (B, C, T); lengths: (B,) int64. The statistics of HuBERT's first convolution otherwise depend on how much padding
    follows an utterance, and so do all features. Padding comes out as a constant.
    """
    outside = torch.arange(x.size(-1), device=x.device) >= lengths[:, None, None]
    x = x.float().masked_fill(outside, 0.0)
    frames = lengths.float()[:, None, None]
    mean = x.sum(-1, keepdim=True) / frames
    second_moment = torch.linalg.vector_norm(x, dim=-1, keepdim=True) ** 2 / frames  # var_mean takes twice as long in all
    variance = (second_moment - mean**2).clamp(min=0.0)
    scale = norm.weight.float()[:, None] * torch.rsqrt(variance + norm.eps)
    return torch.addcmul(norm.bias.float()[:, None] - mean * scale, x, scale)


def _valid_layer_norm(wave, padding_mask):
    """Zero mean and unit variance of each row's samples that are not padding. wave: (B, T)."""
    if padding_mask is None:
        return F.layer_norm(wave.float(), wave.shape[-1:]).to(wave.dtype)
    inside = ~padding_mask
    count = inside.sum(-1, keepdim=True)
    x = wave.float()
    mean = (x * inside).sum(-1, keepdim=True) / count
    x = (x - mean) * inside
    return (x * torch.rsqrt((x**2).sum(-1, keepdim=True) / count + 1e-5)).to(wave.dtype)


class HubertEncoder(HubertModel):
    """HubertModel under the same names of weights, without its pre-training parts.

    It differs in this: layers above the one asked for are not run, and no intermediate result is kept; a row's result
    does not depend on the padding behind it (frames are counted by the convolutions' own arithmetic, and the group norm
    sees the row alone); the wave is normalised here when the base was trained so; layerdrop is off.
    """

    config_class = HubertConfig

    def __init__(self, config):
        cfg = _fairseq_config(self.config_class, config)
        if cfg.layer_type != "transformer":
            raise ConfigError(f"encoder with layer_type {cfg.layer_type!r}; only transformer layers are known")
        super().__init__(cfg, SimpleNamespace(sample_rate=config["sample_rate"]), [None])
        self.remove_pretraining_modules()
        self.cfg = cfg
        self.config = dict(config)
        self.normalize = config["normalize"]
        self.sample_rate = config["sample_rate"]
        self.conv_layers = parse_conv_layers(cfg.conv_feature_layers)
        self.encoder.layer_norm.requires_grad_(not self.encoder.layer_norm_first)  # no output passes through it then
        self.num_layers = cfg.encoder_layers
        self.width = cfg.encoder_embed_dim

    @property
    def hop(self):
        """Samples from one frame to the next."""
        return math.prod(stride for _, _, stride in self.conv_layers)

    @property
    def frame_seconds(self):
        """From one frame to the next."""
        return self.hop / self.sample_rate

    def output_lengths(self, samples):
        """Number of frames of so many samples: int or int tensor in, the same out."""
        for _, kernel, stride in self.conv_layers:
            samples = (samples - kernel) // stride + 1
        return samples

    def layer_groups(self):
        """{"cnn": modules, "pos": modules, "1": modules, ...}: what freezing and randomising go by."""
        groups = {
            "cnn": [self.feature_extractor, self.layer_norm, self.dropout_input],
            "pos": [self.encoder.pos_conv],
            **{str(i): [layer] for i, layer in enumerate(self.encoder.layers, 1)},
        }
        if self.post_extract_proj is not None:
            groups["cnn"].append(self.post_extract_proj)
        if not self.encoder.layer_norm_first:  # else the norm stands behind the last layer, and is never used
            groups["pos"].append(self.encoder.layer_norm)
        return groups

    def _convolve(self, source, lengths):
        x = source.unsqueeze(1)
        for i, block in enumerate(self.feature_extractor.conv_layers):
            _, kernel, stride = self.conv_layers[i]
            if lengths is not None:
                lengths = (lengths - kernel) // stride + 1
            norm = block[2]
            if lengths is not None and isinstance(norm, torch.nn.GroupNorm):
                x = block[3](_valid_group_norm(norm, block[1](block[0](x)), lengths).to(x.dtype))
            else:
                x = block(x)
        return x.transpose(1, 2), lengths

    def encode(self, source, padding_mask=None, output_layer=None, mask=False):
        """The output of a transformer layer.

        source: (B, T) wave at the encoder's sample rate, raw: it is normalised here if the base asks for it.
        padding_mask: (B, T) bool, True where there is padding, at the end of rows; or None.
        output_layer: 1-based; None is the last. As in fairseq, no final norm follows.
        Returns features (B, frames, width), the convolutions' output as it enters the transformer (B, frames, width),
        and the padding mask of frames (B, frames) or None.
        """
        x, conv, frame_mask = self._embed(source, padding_mask, mask)
        for x in self._layer_outputs(x, frame_mask, output_layer):  # noqa: B007  the last one is wanted
            pass
        return x, conv, frame_mask

    def encode_layers(self, source, padding_mask=None):
        """The outputs of all transformer layers, by one pass: -> a list with (B, frames, width), one entry a layer."""
        x, _, frame_mask = self._embed(source, padding_mask)
        return list(self._layer_outputs(x, frame_mask))

    def _layer_outputs(self, x, frame_mask, last=None):
        """Run layers 1 to `last` (None: all) on x, (B, frames, width), and yield each one's output of that shape."""
        x = x.transpose(0, 1)
        for layer in self.encoder.layers[:last]:
            x, _ = layer(x, self_attn_padding_mask=frame_mask, need_weights=False)
            yield x.transpose(0, 1)

    def _embed(self, source, padding_mask, mask=False):
        """What enters the first transformer layer, (B, frames, width); the convolutions' output; the frames' mask."""
        if self.normalize:
            source = _valid_layer_norm(source, padding_mask)
        lengths = None if padding_mask is None else (~padding_mask).sum(-1)
        conv, lengths = self._convolve(source, lengths)
        conv = self.layer_norm(conv)
        if self.post_extract_proj is not None:
            conv = self.post_extract_proj(conv)
        conv = self.dropout_input(conv)
        frame_mask = None
        if lengths is not None:
            frame_mask = torch.arange(conv.size(1), device=conv.device) >= lengths[:, None]
        x = self.apply_mask(conv.clone(), frame_mask, None)[0] if mask else conv
        encoder = self.encoder
        if frame_mask is not None:
            x = x.masked_fill(frame_mask.unsqueeze(-1), 0.0)
        x = x + encoder.pos_conv(x.transpose(1, 2)).transpose(1, 2)
        if not encoder.layer_norm_first:
            x = encoder.layer_norm(x)
        x = F.dropout(x, encoder.dropout, training=encoder.pos_conv.training)
        return x, conv, frame_mask

    def extract_features(self, source, padding_mask=None, mask=False, ret_conv=False, output_layer=None):
        """As HubertModel's: -> features (B, frames, width), padding mask of frames or None."""
        features, conv, frame_mask = self.encode(source, padding_mask, output_layer, mask)
        return (conv if ret_conv else features), frame_mask
