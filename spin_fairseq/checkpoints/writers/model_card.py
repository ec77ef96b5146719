"""Write the README.md of an export for the transformers library."""

import json
from .source import Source

_HEADER = """---
library_name: transformers
pipeline_tag: feature-extraction
tags:
- speech
- {kind}
{tags}---
"""

_EXAMPLE = """
import soundfile
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModel

folder = "."  # where this file is
extractor = AutoFeatureExtractor.from_pretrained(folder)
model = AutoModel.from_pretrained(folder).eval()
{identity}head = load_file(f"{{folder}}/spin_head.safetensors")
wave, rate = soundfile.read("speech.wav", dtype="float32")  # mono, {rate} Hz
inputs = extractor(wave, sampling_rate=rate, return_tensors="pt").input_values
with torch.no_grad():
    x = model(inputs, output_hidden_states=True).hidden_states[{layer}]
{projection}
embeddings = {embeddings}
units = (embeddings @ {prototypes}.T).argmax(-1)[0].tolist()  # one every {milliseconds:g} ms
"""


def _example(source):
    head, encoder = source.model.head, source.encoder
    lines = []
    for index, layer in enumerate(head.projection):
        if hasattr(layer, "out_features"):
            lines.append(f'x = F.linear(x, head["projection.{index}.weight"], head["projection.{index}.bias"])')
        else:
            lines.append("x = F.relu(x)")
    last_of_large_form = encoder.encoder.layer_norm_first and source.model.output_layer == encoder.num_layers
    prototypes = 'head["prototypes.0"]'
    return _EXAMPLE.format(
        identity="model.encoder.layer_norm = torch.nn.Identity()  # the head reads the layer before this norm\n"
        if last_of_large_form
        else "",
        rate=encoder.sample_rate,
        milliseconds=1000 * encoder.frame_seconds,
        layer=source.model.output_layer,
        projection="\n".join(lines),
        embeddings="F.normalize(x, dim=-1)" if head.l2_norm else "x",
        prototypes=f"F.normalize({prototypes}, dim=-1)" if head.normalize_prototypes else prototypes,
    ).strip()


def model_card(source: Source) -> str:
    """-> Markdown that says what the export holds, and for Spin has an example that computes units."""
    kind = source.encoder_config["kind"]
    title = {"hubert": "HuBERT", "wavlm": "WavLM"}[kind]
    rows = []
    for key, value in source.about.items():
        value = json.dumps(value) if isinstance(value, (dict, list)) else value
        rows.append(f"| {key.replace('_', ' ')} | {value} |")
    tags = "- speech-units\n" if source.is_spin else ""
    lines = [_HEADER.format(kind=kind, tags=tags), f"# {'Spin on ' if source.is_spin else ''}{title}", ""]
    if source.is_spin:
        lines += [
            "Spin (speaker-invariant clustering, Chang et al., Interspeech 2023) fine-tuned the last layers of the encoder.",
            "`AutoModel` loads the encoder; the projection and the codebook of units are in `spin_head.safetensors`.",
            "",
        ]
    lines += ["| | |", "|---|---|", *rows, ""]
    if source.is_spin:
        lines += ["## Units", "", "```python", _example(source), "```", ""]
    lines += ["Give files one at a time: the group norm of a Base model sees the padding of a batch.", ""]
    return "\n".join(lines)
