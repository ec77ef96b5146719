"""State dicts of torchaudio's HuBERT and WavLM models (Wav2Vec2Model, HuBERTPretrainModel)."""

from .files import Checkpoint
from .naming import split_attention, strip_prefix, to_fairseq, with_mask_embedding
from .sizes import rebuild_config

NAME = "torchaudio HuBERT or WavLM state dict"

_ANCHOR = "encoder.feature_projection.layer_norm.weight"


def recognises(state):
    return strip_prefix(state, _ANCHOR) is not None


def read(path, state, given):
    """-> Checkpoint; the configuration is not in a state dict, and rebuilt: see sizes.rebuild_config."""
    tensors = {}
    for name, tensor in strip_prefix(state, _ANCHOR).items():
        if name.startswith("aux."):  # the linear layer of a fine-tuned model
            continue
        name = name.replace("encoder.feature_projection.", "feature_projection.", 1)
        name = name.replace("encoder.transformer.", "encoder.", 1)
        tensors[name.replace(".attention.attention.", ".attention.", 1)] = tensor
    tensors = with_mask_embedding(to_fairseq(split_attention(path, tensors)))
    return Checkpoint(str(path), rebuild_config(path, tensors, given), tensors)
