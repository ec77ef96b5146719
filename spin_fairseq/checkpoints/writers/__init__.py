"""One writer a format: each has NAME and `write(source, destination)`, and gives a file its name when it is whole."""

import os

from ...errors import ConfigError
from . import fairseq_hubert, huggingface, kmeans, onnx_model, s3prl, spin
from .source import read_source

WRITERS = {
    "hubert": fairseq_hubert,
    "hf": huggingface,
    "s3prl": s3prl,
    "kmeans": kmeans,
    "spin": spin,
    "onnx": onnx_model,
}
WITH_CODEBOOKS = ("hf", "kmeans", "spin", "onnx")


def convert(source, destination, to, given=None, codebook=None):
    """Write the checkpoint `source`, of any format that is read, to `destination` in the format `to`.

    given: keys of the encoder's configuration that the source leaves open, as for `load_encoder`. codebook: the only one that the
    export holds, of a Spin with several; None: all of them, the first being the one that gives units.
    Returns what the export says of itself. Raises CheckpointError; ConfigError for an unknown format, or where the
    source is to be replaced.
    """
    if to not in WRITERS:
        raise ConfigError(f"--to is {to!r}: choose one of {', '.join(WRITERS)}")
    if os.path.exists(source) and os.path.exists(destination) and os.path.samefile(source, destination):
        raise ConfigError(f"{destination}: is the source itself; choose another place, since an export holds less")
    if codebook is not None and to not in WITH_CODEBOOKS:
        raise ConfigError(f"--codebook is for {', '.join(WITH_CODEBOOKS)}: --to {to} holds no codebook; leave it out")
    source = read_source(source, given, codebook)
    WRITERS[to].write(source, destination)
    return source.about
