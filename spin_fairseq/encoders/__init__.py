"""HuBERT and WavLM as plain torch modules; they know nothing of fairseq, and nothing of files."""

from .config import EncoderConfig
from .conv_layers import parse_conv_layers
from .encoder import AS_EXPORTED, AS_USUAL, PRECISIONS, Encoded, Mode, SpeechEncoder
from .waves import RunningStatistics, WaveStatistics

__all__ = [
    "AS_EXPORTED",
    "AS_USUAL",
    "PRECISIONS",
    "Encoded",
    "EncoderConfig",
    "Mode",
    "RunningStatistics",
    "SpeechEncoder",
    "WaveStatistics",
    "parse_conv_layers",
]
