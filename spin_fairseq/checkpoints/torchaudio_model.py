"""Read state dicts of torchaudio's HuBERT and WavLM models (Wav2Vec2Model, HuBERTPretrainModel)."""

from typing import Any

from .files import Checkpoint
from .naming import encoder_tensors, split_attention, to_fairseq, with_mask_embedding
from .sizes import rebuild_config

NAME = "torchaudio HuBERT or WavLM state dict"

_ANCHOR = "encoder.feature_projection.layer_norm.weight"
_PARTS = ("feature_extractor.", "encoder.")


def recognises(state: dict[str, Any]) -> bool:
    return encoder_tensors(state, _ANCHOR, _PARTS) is not None


def read(path: str, state: dict[str, Any], given: dict[str, Any]) -> Checkpoint:
    """-> Checkpoint; a state dict has no configuration, so it is inferred: see sizes.rebuild_config."""
    tensors = {}
    for name, tensor in encoder_tensors(state, _ANCHOR, _PARTS).items():
        name = name.replace("encoder.feature_projection.", "feature_projection.", 1)
        name = name.replace("encoder.transformer.", "encoder.", 1)
        tensors[name.replace(".attention.attention.", ".attention.", 1)] = tensor
    tensors = with_mask_embedding(to_fairseq(split_attention(path, tensors)))
    return Checkpoint(str(path), rebuild_config(path, tensors, given), tensors)
