"""Read a pretrained encoder; the format is recognised by the content of the file, never by its name."""

import logging
import os
from typing import Any
from pathlib import Path

import torch

from ..encoders import SpeechEncoder
from ..encoders.config import KNOWN_KEYS
from ..errors import CheckpointError
from ..spin_model import Spin
from . import (
    fairseq_hubert,
    huggingface,
    microsoft_wavlm,
    reference_spin,
    s3prl_hubert,
    spin_checkpoint,
    torchaudio_model,
)
from .files import AS_WRITTEN, MALFORMED, Checkpoint, read_file
from .sizes import check_sizes

# Each has NAME, recognises(state) and read(path, state, given) -> Checkpoint. A reader of Spin checkpoints returns the
# configuration of a Spin, with the encoder's under "encoder", and tensors named encoder.* and head.*.
SPIN_READERS = [spin_checkpoint, reference_spin]
READERS = [fairseq_hubert, s3prl_hubert, microsoft_wavlm, torchaudio_model, huggingface]

logger = logging.getLogger(__name__)


def _read(path, state, readers, given):
    """-> Checkpoint, from the first of `readers` that recognises the content; None if none does."""
    for reader in readers:
        if reader.recognises(state):
            try:
                checkpoint = reader.read(path, state, given)
            except MALFORMED as error:
                what = f"{type(error).__name__}: {error}"
                raise CheckpointError(
                    f"{path}: something in it is not as in {reader.NAME} ({what}); {AS_WRITTEN}"
                ) from error
            _refuse_repeated_tensors(path, checkpoint.state_dict)
            return checkpoint
    return None


def _content(path):
    return huggingface.read_folder(path) if os.path.isdir(path) else read_file(path)


def _refuse_repeated_tensors(path, tensors):
    """Raise CheckpointError if tensors share memory or repeat a few numbers: a small file could then demand a huge model."""
    files = [entry.path for entry in os.scandir(path) if entry.is_file()] if os.path.isdir(path) else [path]
    size = sum(map(os.path.getsize, files))
    asked = sum(t.numel() * t.element_size() for t in tensors.values() if isinstance(t, torch.Tensor))
    if asked > 2 * size:
        raise CheckpointError(
            f"{path}: refused, since its {size} bytes would make tensors of {asked}, which no checkpoint does"
        )


def read_spin(path: str | Path, given: dict[str, Any] | None = None) -> Checkpoint:
    """-> Checkpoint with Spin's configuration, the encoder's own inside. Raises CheckpointError.

    given: keys of the encoder's configuration that override those of the file.
    """
    return _read_spin(os.fspath(path), _content(os.fspath(path)), given or {})


def _read_spin(path, state, given):
    checkpoint = _read(path, state, SPIN_READERS, given)
    if checkpoint is None:
        raise CheckpointError(f"{path}: not a Spin checkpoint; train one, or read a base model with load_encoder")
    encoder = {**checkpoint.config["encoder"], **given}
    checkpoint.config["encoder"] = _checked(path, encoder, _encoder_tensors(checkpoint))
    return checkpoint


def read_encoder(path: str | Path, given: dict[str, Any] | None = None) -> Checkpoint:
    """-> Checkpoint; its config has a "kind" and what the encoder is built from. Raises CheckpointError.

    given: keys of the configuration that override those of the file, or supply missing ones.
    """
    checkpoint = read_model(path, given)
    if not checkpoint.is_spin:
        return checkpoint
    return Checkpoint(checkpoint.path, checkpoint.config["encoder"], _encoder_tensors(checkpoint))


def read_model(path: str | Path, given: dict[str, Any] | None = None) -> Checkpoint:
    """-> the result of `read_spin` for a Spin checkpoint, of `read_encoder` for another. Raises CheckpointError."""
    path, given = os.fspath(path), given or {}
    state = _content(path)
    if any(reader.recognises(state) for reader in SPIN_READERS):
        return _read_spin(path, state, given)
    checkpoint = _read(path, state, READERS, given)
    if checkpoint is None:
        keys = ", ".join(sorted(key[:80] for key in state if isinstance(key, str))[:12])
        known = ", ".join(reader.NAME for reader in READERS + SPIN_READERS)
        raise CheckpointError(f"{path}: a checkpoint of another kind (keys: {keys}); what can be read: {known}")
    checkpoint.config = _checked(path, {**checkpoint.config, **given}, checkpoint.state_dict)
    return checkpoint


def build(checkpoint: Checkpoint) -> Spin | SpeechEncoder:
    """The Spin of a checkpoint, or its encoder where it holds no Spin. Raises CheckpointError."""
    return checkpoint.build(Spin.from_config if checkpoint.is_spin else SpeechEncoder)


def _checked(path, config, tensors):
    """-> the configuration of an encoder, checked against the sizes of its tensors, without unknown keys."""
    unknown = sorted(str(key)[:80] for key in config if key not in KNOWN_KEYS)
    if unknown:
        logger.warning(f"{path}: keys of its configuration that are not known here, and ignored: {', '.join(unknown)}")
    try:
        check_sizes(path, config, tensors)
    except KeyError as error:
        raise CheckpointError(f"{path}: its configuration lacks {error}; {AS_WRITTEN}") from None
    return {key: value for key, value in config.items() if key in KNOWN_KEYS}


def _encoder_tensors(checkpoint):
    prefix = "encoder."
    return {
        name[len(prefix) :]: tensor for name, tensor in checkpoint.state_dict.items() if str(name).startswith(prefix)
    }
