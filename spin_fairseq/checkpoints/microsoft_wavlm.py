"""Read Microsoft's WavLM checkpoints, as released: a flat configuration `cfg` and the tensors in `model`."""

from typing import Any

from ..encoders.conv_layers import parse_conv_layers
from ..errors import CheckpointError
from ..sample_rate import SAMPLE_RATE
from .files import Checkpoint, plain
from .naming import one_weight_norm

NAME = "Microsoft WavLM"

# Microsoft's defaults for absent keys, where those of fairseq's HuBERT or of this package differ.
_DEFAULTS = {
    "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
    "encoder_layers": 12,
    "normalize": False,
    "relative_position_embedding": False,
    "gru_rel_pos": False,
    "max_distance": 1280,
}


def recognises(state: dict[str, Any]) -> bool:
    return "gru_rel_pos" in plain(state.get("cfg")) and isinstance(state.get("model"), dict)


def read(path: str, state: dict[str, Any], given: dict[str, Any]) -> Checkpoint:
    """-> Checkpoint with config {"kind": "wavlm", "normalize", "sample_rate", and EncoderConfig's keys}."""
    config = {**_DEFAULTS, **plain(state["cfg"])}
    try:
        config["conv_feature_layers"] = repr(parse_conv_layers(config["conv_feature_layers"]))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    config.update(kind="wavlm", normalize=bool(config["normalize"]), sample_rate=SAMPLE_RATE)
    return Checkpoint(str(path), config, one_weight_norm(state["model"]))
