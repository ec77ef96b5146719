"""Read a HuBERT converted by s3prl: fairseq's configuration and tensors in plain containers."""

from typing import Any

from . import fairseq_hubert
from .files import Checkpoint, plain

NAME = "s3prl's converted HuBERT"


def recognises(state: dict[str, Any]) -> bool:
    return {"task_cfg", "model_cfg", "model_weight"} <= set(state) and isinstance(state["model_weight"], dict)


def read(path: str, state: dict[str, Any], given: dict[str, Any]) -> Checkpoint:
    """-> Checkpoint with config {"kind": "hubert", "normalize", "sample_rate", and EncoderConfig's keys}."""
    return fairseq_hubert.checkpoint(path, plain(state["model_cfg"]), plain(state["task_cfg"]), state["model_weight"])
