"""The encoders that Spin can stand on, by the "kind" that a checkpoint's configuration names."""

from ..errors import CheckpointError
from .hubert import HubertEncoder
from .wavlm import WavLMEncoder

ENCODERS = {"hubert": HubertEncoder, "wavlm": WavLMEncoder}


def build_encoder(config):
    """config: of `checkpoints.read_encoder`, -> an encoder with random weights.

    What an encoder offers: `num_layers`, `width`, `output_lengths(samples)`, `layer_groups()`, `encode(...)`,
    `extract_features(...)`.
    """
    try:
        return ENCODERS[config["kind"]](config)
    except KeyError:
        raise CheckpointError(f"encoder of kind {config.get('kind')!r}; known: {', '.join(ENCODERS)}") from None
