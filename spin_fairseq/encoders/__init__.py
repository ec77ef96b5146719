"""HuBERT and WavLM as plain torch modules; they know nothing of fairseq, and nothing of files."""

from .config import EncoderConfig
from .conv_layers import parse_conv_layers
from .encoder import PRECISIONS, Encoded, SpeechEncoder
from .mode import AS_EXPORTED, AS_USUAL, Mode
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
