"""Reading a pretrained encoder: the format is found from what is in the file, never from its name."""

import os

import torch

from ..errors import CheckpointError
from . import (
    fairseq_hubert,
    huggingface,
    microsoft_wavlm,
    reference_spin,
    s3prl_hubert,
    spin_checkpoint,
    torchaudio_model,
)
from .files import Checkpoint, read_file
from .sizes import check_sizes

# Each has NAME, recognises(state) and read(path, state, given) -> Checkpoint. A reader of Spin checkpoints gives the
# configuration of a SpinModel, with the encoder's under "encoder", and tensors named encoder.* and head.*.
SPIN_READERS = [spin_checkpoint, reference_spin]
READERS = [fairseq_hubert, s3prl_hubert, microsoft_wavlm, torchaudio_model, huggingface]


def _read(path, readers, given):
    """-> Checkpoint by the first of `readers` that knows the content; None if none does, and the content."""
    state = huggingface.read_folder(path) if os.path.isdir(path) else read_file(path)
    for reader in readers:
        if reader.recognises(state):
            checkpoint = reader.read(path, state, given)
            _refuse_repeated_tensors(path, checkpoint.state_dict)
            return checkpoint, state
    return None, state


def _refuse_repeated_tensors(path, tensors):
    """Tensors may share memory, or repeat a few numbers: a small file could ask for a model of any size."""
    files = [entry.path for entry in os.scandir(path)] if os.path.isdir(path) else [path]
    size = sum(map(os.path.getsize, files))
    asked = sum(t.numel() * t.element_size() for t in tensors.values() if isinstance(t, torch.Tensor))
    if asked > 2 * size:
        raise CheckpointError(f"{path}: refused, since its {size} bytes would make tensors of {asked}, which no checkpoint does")


def read_spin(path, given=None):
    """-> Checkpoint with SpinModel's configuration, the encoder's own inside. Raises CheckpointError.

    given: keys of the encoder's configuration that take the place of the file's.
    """
    path = os.fspath(path)
    checkpoint, _ = _read(path, SPIN_READERS, given or {})
    if checkpoint is None:
        raise CheckpointError(f"{path}: not a Spin checkpoint; train one, or read a base model with load_encoder")
    checkpoint.config["encoder"].update(given or {})
    _check(path, checkpoint.config["encoder"], _encoder_tensors(checkpoint))
    return checkpoint


def _check(path, config, tensors):
    try:
        check_sizes(path, config, tensors)
    except KeyError as error:
        raise CheckpointError(f"{path}: its configuration lacks {error}") from None


def read_encoder(path, given=None):
    """-> Checkpoint; its config has a "kind" and what the encoder is built from. Raises CheckpointError.

    given: keys of the configuration that take the place of the file's, or say what it leaves open.
    """
    path, given = os.fspath(path), given or {}
    checkpoint, state = _read(path, SPIN_READERS + READERS, given)
    if checkpoint is None:
        keys = ", ".join(sorted(key[:80] for key in state if isinstance(key, str))[:12])
        known = ", ".join(reader.NAME for reader in READERS + SPIN_READERS)
        raise CheckpointError(f"{path}: a checkpoint of another kind (keys: {keys}); what can be read: {known}")
    if "encoder" in checkpoint.config:
        checkpoint = Checkpoint(path, checkpoint.config["encoder"], _encoder_tensors(checkpoint))
    checkpoint.config.update(given)
    _check(path, checkpoint.config, checkpoint.state_dict)
    return checkpoint


def _encoder_tensors(checkpoint):
    prefix = "encoder."
    return {
        name[len(prefix) :]: tensor for name, tensor in checkpoint.state_dict.items() if str(name).startswith(prefix)
    }
