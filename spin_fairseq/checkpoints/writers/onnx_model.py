"""A model for onnxruntime: one wave of any length in; units, embeddings and features out."""

import inspect
import json
import logging
import math
import warnings

import torch
import torch.nn.functional as F
from torch import nn

from ...errors import CheckpointError
from ...files import whole_file

NAME = "ONNX"

_OPSET = 17  # the first with layer norm
_LARGEST = 2**31  # bytes of a protobuf


class _WaveToUnits(nn.Module):
    """The model written out in operations that ONNX has, for one wave without padding.

    wave: (1, T) -> features (1, frames, width) of the layer that the head reads, of an encoder alone the last; of Spin
    also embeddings (1, frames, D), and units (1, frames) of each codebook.
    """

    def __init__(self, encoder, head, output_layer):
        super().__init__()
        nn.utils.remove_weight_norm(encoder.encoder.pos_conv[0])
        self.encoder = encoder
        self.head = head
        self.output_layer = output_layer

    def forward(self, wave):
        encoder, transformer = self.encoder, self.encoder.encoder
        if encoder.normalize:  # layer_norm over a length that is not known is no operation of ONNX
            wave = wave - wave.mean(-1, keepdim=True)
            wave = wave * torch.rsqrt((wave * wave).mean(-1, keepdim=True) + 1e-5)
        x = wave.unsqueeze(1)
        for block in encoder.feature_extractor.conv_layers:
            x = block(x)
        x = encoder.layer_norm(x.transpose(1, 2))
        if encoder.post_extract_proj is not None:
            x = encoder.post_extract_proj(x)
        x = x + transformer.pos_conv(x.transpose(1, 2)).transpose(1, 2)
        if not transformer.layer_norm_first:
            x = transformer.layer_norm(x)
        bias = getattr(transformer.layers[0].self_attn, "relative_attention_bias", None)
        bias = None if bias is None else bias(x.size(1))
        for layer in transformer.layers[: self.output_layer]:
            x = self._layer(layer, x, bias)
        if self.head is None:
            return x
        embeddings = self.head.embed(x)
        units = [self.head.scores(embeddings, index).argmax(-1) for index in range(len(self.head.prototypes))]
        return (x, embeddings, *units)

    def _layer(self, layer, x, bias):
        first = layer.layer_norm_first
        y = x + self._attention(layer.self_attn, layer.self_attn_layer_norm(x) if first else x, bias)
        y = y if first else layer.self_attn_layer_norm(y)
        z = layer.final_layer_norm(y) if first else y
        y = y + layer.fc2(layer.activation_fn(layer.fc1(z)))
        return y if first else layer.final_layer_norm(y)

    @staticmethod
    def _attention(attention, x, bias):
        heads = getattr(attention, "heads", None) or attention.num_heads
        width = attention.q_proj.out_features
        query, key, value = (
            project(x).reshape(1, -1, heads, width // heads).transpose(1, 2)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // heads)
        if bias is not None:
            scores = scores + attention.gate(x) * bias
        return attention.out_proj((F.softmax(scores, dim=-1) @ value).transpose(1, 2).reshape(1, -1, width))


def write(source, path):
    """Inputs: wave (1, samples) float32, at the base's sample rate. Outputs: features; of Spin also embeddings, units,
    and units_1 ... of further codebooks. What the model is stands in its metadata, as JSON under "about"."""
    try:
        import onnx
    except ImportError:
        raise CheckpointError(f"{path}: to write ONNX, pip install onnx onnxruntime") from None
    from ...models.encoders import build_encoder

    size = sum(tensor.numel() * 4 for tensor in source.model.state_dict().values())
    if size >= _LARGEST:
        raise CheckpointError(f"{source.path}: its {size} bytes are too many for one ONNX file, which holds 2 GB")
    encoder = build_encoder(source.encoder.config).eval()  # of its own, since weight norm is taken out of it
    encoder.load_state_dict(source.encoder.state_dict())
    head = source.model.head if source.is_spin else None
    layer = source.model.output_layer if source.is_spin else encoder.num_layers
    names = ["features"]
    if source.is_spin:
        names += ["embeddings", "units", *(f"units_{index}" for index in range(1, len(head.prototypes)))]
    wave = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    # The older exporter, of the two that newer torch versions have: all versions have it, and it needs no onnxscript.
    older = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    with whole_file(path, CheckpointError) as temporary, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what is constant: there is one wave
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            _WaveToUnits(encoder, head, layer).eval(),
            (wave,),
            str(temporary),
            input_names=["wave"],
            output_names=names,
            dynamic_axes={"wave": {1: "samples"}, **{name: {1: "frames"} for name in names}},
            opset_version=_OPSET,
            **older,
        )
        model = onnx.load(str(temporary))
        entry = model.metadata_props.add()
        entry.key, entry.value = "about", json.dumps(source.about)
        onnx.checker.check_model(model)
        onnx.save(model, str(temporary))
