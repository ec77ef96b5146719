"""The transformer layers of HuBERT and WavLM for extraction: without padding, and in blocks of frames.

Only attention looks at more than a frame, and it looks at its own utterance. So the frames of a batch stand behind each
other without padding, attention runs for each utterance by itself, for a block of queries at a time, and everything
else for a block of frames at a time. What is computed is the same; memory grows with the length of a file, not with its
square, and on a CPU the blocks stay in the cache.
"""

import torch
import torch.nn.functional as F

from .convolutions import BlockedConvolutions


class BlockedLayers:
    """Takes the place of an encoder's `_layer_outputs`, for inference. frames: of a block."""

    def __init__(self, encoder, frames=500):
        self.layers = encoder.encoder.layers
        self.frames = frames

    def __call__(self, x, frame_mask, last=None):
        """As the encoder's: x (B, frames, width), frame_mask (B, frames) or None -> yields each layer's output."""
        total = x.size(1)
        lengths = [total] * len(x) if frame_mask is None else (total - frame_mask.sum(-1)).tolist()
        packed = torch.cat([row[:length] for row, length in zip(x, lengths)])
        bias = getattr(self.layers[0].self_attn, "relative_attention_bias", None)
        position_bias = None if bias is None else _PositionBias(bias, self.frames)
        for layer in self.layers[:last]:
            packed = self._layer(layer, packed, lengths, position_bias)
            rows = [F.pad(row, (0, 0, 0, total - len(row))) for row in packed.split(lengths)]
            yield torch.stack(rows) if len(rows) > 1 else rows[0][None]

    def _layer(self, layer, x, lengths, position_bias):
        first = layer.layer_norm_first
        attended = self._attention(layer.self_attn, layer.self_attn_layer_norm(x) if first else x, lengths, position_bias)
        result = torch.empty_like(x)
        for begin in range(0, len(x), self.frames):
            block = slice(begin, begin + self.frames)
            y = x[block] + layer.self_attn.out_proj(attended[block])
            if not first:
                y = layer.self_attn_layer_norm(y)
            z = layer.final_layer_norm(y) if first else y
            y = y + layer.fc2(layer.activation_fn(layer.fc1(z)))
            result[block] = y if first else layer.final_layer_norm(y)
        return result

    def _attention(self, attention, x, lengths, position_bias):
        """What the heads make of x, (N, width), before their last projection."""
        heads = getattr(attention, "heads", None) or attention.num_heads
        query, key, value = (
            project(x).view(len(x), heads, -1).transpose(0, 1)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        result = torch.empty_like(x)
        end = 0
        for length in lengths:
            begin, end = end, end + length
            keys, values = key[None, :, begin:end], value[None, :, begin:end]
            for first in range(begin, end, self.frames):
                last = min(first + self.frames, end)
                bias = None
                if position_bias is not None:
                    gate = attention.gate(x[None, first:last])
                    bias = gate * position_bias.of_queries(first - begin, last - begin, length)
                found = F.scaled_dot_product_attention(query[None, :, first:last], keys, values, attn_mask=bias)
                result[first:last] = found[0].transpose(0, 1).flatten(1)
        return result


class _PositionBias:
    """Rows of WavLM's relative position bias, for a block of queries. module: models.wavlm.RelativePositionBias."""

    def __init__(self, module, frames):
        self.module = module
        self.frames = frames
        self.of_lengths = {}

    def of_queries(self, first, last, length):
        """-> (heads, last - first, length)."""
        if length <= self.frames:  # one block: the same in all layers
            if length not in self.of_lengths:
                self.of_lengths[length] = self.module(length)
            return self.of_lengths[length]
        keys = torch.arange(length, device=self.module.weight.device)
        distances = keys - keys[first:last, None]
        lowest = 1 - last
        values = F.embedding(self.module.buckets(torch.arange(lowest, length, device=keys.device)), self.module.weight)
        return values.t()[:, distances - lowest]


def speed_up(encoder, frames=500):
    """Give an encoder these layers and `BlockedConvolutions`, for extraction; -> the encoder.

    frames: of a block. The weights must not change afterwards, and the encoder must be on its device already. An
    extractor of another form than fairseq's keeps torch's convolutions.
    """
    encoder._layer_outputs = BlockedLayers(encoder, frames)
    try:
        encoder._convolve = BlockedConvolutions(encoder)
    except ValueError:
        pass
    return encoder
