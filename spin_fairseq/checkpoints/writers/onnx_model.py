"""Write a model for onnxruntime: one waveform of any length in; units, embeddings and features out."""

import inspect
import json
import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from ...encoders import AS_EXPORTED
from ...errors import CheckpointError
from ...files import whole_file
from .source import Source

NAME = "ONNX"

_OPSET = 17  # the first with layer norm
_LARGEST = 2**31  # bytes of a protobuf


class _WaveToUnits(nn.Module):
    """The model for one waveform, without padding.

    wave: (1, T) -> features (1, frames, width) of the layer that the head reads, or of the last layer of an encoder; for
    Spin also embeddings (1, frames, D), and units (1, frames) of each codebook.
    """

    def __init__(self, encoder, head, output_layer):
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.output_layer = output_layer

    def forward(self, wave):
        features = self.encoder.encode(wave, output_layer=self.output_layer, mode=AS_EXPORTED).features
        if self.head is None:
            return features
        embeddings = self.head.embed(features)
        units = [self.head.scores(embeddings, index).argmax(-1) for index in range(len(self.head.prototypes))]
        return (features, embeddings, *units)


def write(source: Source, path: str | Path) -> None:
    """Write the model. Input: wave (1, samples) float32, at the sample rate of the base. Outputs: features; for Spin also
    embeddings, units, and units_1 ... of further codebooks. Its metadata describe it, as JSON under "about"."""
    try:
        import onnx
    except ImportError:
        raise CheckpointError(f"{path}: to write ONNX, pip install onnx onnxruntime") from None
    size = sum(tensor.numel() * 4 for tensor in source.model.state_dict().values())
    if size >= _LARGEST:
        raise CheckpointError(f"{source.path}: its {size} bytes are too many for one ONNX file, which holds 2 GB")
    encoder = source.encoder
    head = source.model.head if source.is_spin else None
    layer = source.model.output_layer if source.is_spin else encoder.num_layers
    names = ["features"]
    if source.is_spin:
        names += ["embeddings", "units", *(f"units_{index}" for index in range(1, len(head.prototypes)))]
    wave = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    # The older of the two exporters of newer torch versions: all versions have it, and it needs no onnxscript.
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
