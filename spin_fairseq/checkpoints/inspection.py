"""Describe a file without building a model: format, encoder, head, how it was trained, what it can be converted to."""

from __future__ import annotations

import logging
import math
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from collections.abc import Iterator

import torch

from ..encoders.conv_layers import parse_conv_layers
from ..errors import CheckpointError
from . import encoder as readers
from . import fairseq_hubert, reference_spin
from .files import read_file
from .huggingface import read_folder
from .provenance import about_of_folder, plain_values, what_is_told
from .sizes import HeadsLeftOpen

TITLES = {"hubert": "HuBERT", "wavlm": "WavLM"}
CANNOT_BE_TOLD = (
    "a ContentVec in HuBERT's form, or the encoder of a Spin that another tool saved so, has the same tensors: "
    "that the file is neither cannot be told from it"
)
HEADS = (
    "the number of attention heads is not in the file, and cannot be guessed from its width: "
    "give it to units, convert and inspect (--encoder encoder_attention_heads=N), to load_encoder and load_spin"
)
# The first bytes of files that are mistaken for checkpoints.
_OTHER_FILES = [
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch it with git lfs pull"),
    (b"<!DOCTYPE html", "a web page, as of a failed download; fetch the file again"),
    (b"<html", "a web page, as of a failed download; fetch the file again"),
    (b"RIFF", "audio (WAV), not a checkpoint; give a model's file"),
    (b"fLaC", "audio (FLAC), not a checkpoint; give a model's file"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x93NUMPY", "an array of numpy, not a checkpoint; give a model's file"),
]


def inspect_checkpoint(path: str | os.PathLike, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """-> a dictionary for JSON: "file", "bytes", "format", "what", "encoder", "spin", "made", "converts_to", "notes".

    "spin" is None for an encoder alone. given: keys of the encoder's configuration, as for `load_encoder`. Nothing in the file is executed, and no model is built.

    Raises CheckpointError: the file is no checkpoint that this package reads; the message says what it is, where that
    is known.
    """
    path = os.fspath(path)
    _refuse_other_files(path)
    folder = os.path.isdir(path)
    state = read_folder(path) if folder else read_file(path)
    is_spin = any(reader.recognises(state) for reader in readers.SPIN_READERS)
    read = readers.read_spin if is_spin else readers.read_encoder
    with _logged("spin_fairseq.checkpoints") as messages:
        try:
            checkpoint, heads_known = read(path, given), True
        except HeadsLeftOpen:
            checkpoint, heads_known = read(path, {**(given or {}), "encoder_attention_heads": 1}), False
    reader = next(one for one in readers.SPIN_READERS + readers.READERS if one.recognises(state))
    told = plain_values(what_is_told(about_of_folder(path) if folder else state))
    config = checkpoint.config["encoder"] if is_spin else checkpoint.config
    found = {
        "file": path,
        "bytes": sum(file.stat().st_size for file in _files(path)),
        "format": reader.NAME,
        "what": _what(reader, state, config["kind"], told, is_spin),
        "encoder": _encoder(config, checkpoint.state_dict, "encoder." if is_spin else ""),
        "spin": _spin(checkpoint) if is_spin else None,
        "made": {**told, **_training_state(state)},
        "converts_to": _targets(config["kind"], is_spin),
        "notes": [message.replace(f"{path}: ", "", 1) for message in messages],
    }
    if not heads_known:
        found["encoder"]["heads"] = None
        found["notes"].append(HEADS)
    if found["what"] == "HuBERT":
        found["notes"].append(CANNOT_BE_TOLD)
    if not is_spin and told.get("codebook_sizes"):
        found["notes"].append(f"the head and the codebooks of {told['codebook_sizes']} units are not in this file")
    return plain_values(found)


def _what(reader, state, kind: str, told: dict, is_spin: bool) -> str:
    if is_spin:
        if reader is reference_spin:
            return f"Spin on {TITLES[kind]}, trained by the original code"
        exported = state.get("format") == "spin_fairseq"
        return f"Spin on {TITLES[kind]}, {'exported by this package' if exported else 'a training of this package'}"
    if told.get("codebook_sizes"):
        return f"{TITLES[kind]}, the encoder of a Spin"
    return fairseq_hubert.variety(state) if reader is fairseq_hubert else TITLES[kind]


def _encoder(config: dict, tensors: dict, prefix: str) -> dict[str, Any]:
    own = [tensor for name, tensor in tensors.items() if name.startswith(prefix) and isinstance(tensor, torch.Tensor)]
    strides = [stride for _, _, stride in parse_conv_layers(config["conv_feature_layers"])]
    large = str(plain_values(config.get("extractor_mode", "default"))) == "layer_norm"
    return {
        "kind": config["kind"],
        "layers": config["encoder_layers"],
        "width": config["encoder_embed_dim"],
        "feed_forward": config["encoder_ffn_embed_dim"],
        "heads": config["encoder_attention_heads"],
        "parameters": sum(tensor.numel() for tensor in own),
        "number_format": ", ".join(sorted({str(tensor.dtype).replace("torch.", "") for tensor in own})),
        "sample_rate": config["sample_rate"],
        "samples_per_frame": math.prod(strides),
        "frames_per_second": config["sample_rate"] / math.prod(strides),
        "normalised_input": bool(config["normalize"]),
        "form": "Large (layer norms)" if large else "Base (group norm)",
    }


def _spin(checkpoint) -> dict[str, Any]:
    layer = checkpoint.config.get("output_layer")
    codebooks = _shapes(checkpoint.state_dict, r"head\.prototypes\.(\d+)$")
    return {
        "output_layer": checkpoint.config["encoder"]["encoder_layers"] if layer is None else layer,
        "head_dims": [rows for rows, _ in _shapes(checkpoint.state_dict, r"head\.projection\.(\d+)\.weight$")],
        "codebook_sizes": [rows for rows, _ in codebooks],
        "prototypes": "used as stored"
        if checkpoint.config.get("prototypes_as_stored")
        else "normalised where they are used",
    }


def _shapes(tensors: dict, pattern: str) -> list[tuple]:
    found = [
        (int(match[1]), tuple(tensors[match[0]].shape)) for match in map(re.compile(pattern).match, tensors) if match
    ]
    return [shape for _, shape in sorted(found)]


def _training_state(state: dict) -> dict[str, Any]:
    """Whether training can resume from the file, and what wrote it."""
    made: dict[str, Any] = {}
    if state.get("last_optimizer_state") is not None:
        made["optimiser_state"] = "in the file: training resumes from it"
    elif isinstance(state.get("optimizer_history"), list):
        made["optimiser_state"] = "not in the file"
    if "pytorch-lightning_version" in state:
        made["version"] = f"PyTorch Lightning {state['pytorch-lightning_version']}"
    history = state.get("optimizer_history")
    if isinstance(history, list) and history and isinstance(history[-1], dict) and "num_updates" in history[-1]:
        made["updates"] = history[-1]["num_updates"]
    tensors = state.get("model_weight", state.get("model"))
    classes = tensors.get("label_embs_concat") if isinstance(tensors, dict) else None
    if isinstance(classes, torch.Tensor) and classes.dim() == 2:
        made["pretraining_classes"] = len(classes)
    return made


def _targets(kind: str, is_spin: bool) -> list[str]:
    """The formats that `convert` can write: fairseq has no WavLM, and k-means and our own format need a head."""
    return [*(["hubert"] if kind == "hubert" else []), "hf", "s3prl", *(["kmeans", "spin"] if is_spin else []), "onnx"]


def _refuse_other_files(path: str) -> None:
    if not os.path.isfile(path):
        if not os.path.isdir(path):
            raise CheckpointError(f"{path}: no such file or folder; check its name")
        return
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        raise CheckpointError(f"{path}: an empty file; fetch it again")
    if path.endswith(".onnx"):
        raise CheckpointError(
            f"{path}: an ONNX model, which this package writes and does not read; run it with onnxruntime"
        )
    for beginning, what in _OTHER_FILES:
        if start.startswith(beginning):
            raise CheckpointError(f"{path}: {what}")
    if not start.startswith((b"PK\x03\x04", b"\x80")) and start[8:9] != b"{":
        raise CheckpointError(
            f"{path}: no checkpoint: it begins as no file of torch.save or safetensors does; give a model's file"
        )


def _files(path: str) -> Iterator[Path]:
    return (file for file in Path(path).iterdir() if file.is_file()) if os.path.isdir(path) else iter([Path(path)])


class _Messages(logging.Handler):
    """Collects log messages."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


@contextmanager
def _logged(name: str) -> Iterator[list[str]]:
    """Collect the messages of a logger inside the block, instead of printing them."""
    logger, handler = logging.getLogger(name), _Messages()
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield handler.found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
