"""Write what s3prl's `hubert_custom` and `wavlm_local` load: its converted HuBERT, or a WavLM in Microsoft's form."""

from pathlib import Path

import torch

from ...errors import CheckpointError
from ...files import whole_file
from .fairseq_hubert import hubert_parts, refuse_odd_forms
from .source import Source

NAME = "s3prl"


def _wavlm(source):
    refuse_odd_forms(source, "s3prl")
    config = {key: value for key, value in source.encoder_config.items() if key not in ("kind", "sample_rate", "_name")}
    return {"cfg": config, "model": dict(source.encoder.state_dict())}


def _hubert(source):
    model, task, tensors = hubert_parts(source, "s3prl")
    return {"task_cfg": task, "model_cfg": model, "model_weight": tensors, "dictionaries_symbols": [None]}


def write(source: Source, path: str | Path) -> None:
    """Write the encoder without the head (for that see examples/superb/). `load_encoder` can read both forms."""
    state = _wavlm(source) if source.encoder_config["kind"] == "wavlm" else _hubert(source)
    with whole_file(path, CheckpointError) as temporary, open(temporary, "wb") as file:
        torch.save({**state, "about": source.about}, file)
