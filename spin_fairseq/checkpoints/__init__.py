"""Reading checkpoints: one reader for each format, behind three functions.

A reader turns a file into a configuration and tensors; the functions below build the model that the configuration
describes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from ..encoders import SpeechEncoder
    from ..spin_model import Spin


def load_encoder(path: str | Path, dtype: str = "float32", **config: Any) -> SpeechEncoder:
    """Load an encoder, in eval mode, from any checkpoint that `read_encoder` can read; from a Spin checkpoint, its encoder.

    path: a file, or a folder of the transformers library.
    dtype: "bfloat16" or "float16" for products in half precision, see `SpeechEncoder.multiply_in`.
    config: keys of the encoder's configuration, under fairseq's names, that override those of the file. Some formats lack
    a few, such as the number of attention heads; the log says what was assumed.

    Returns a SpeechEncoder: `extract_features(source, padding_mask, output_layer)`. Raises CheckpointError.
    """
    from ..encoders import SpeechEncoder
    from .encoder import read_encoder

    return _in_precision(read_encoder(path, config).build(SpeechEncoder), dtype)


def load_spin(path: str | Path, dtype: str = "float32", **config: Any) -> Spin:
    """Load a Spin, in eval mode: a training checkpoint or export of this package, or a `.ckpt` of the original code.

    dtype, config: as for `load_encoder`. Raises CheckpointError.
    """
    from ..spin_model import Spin
    from .encoder import read_spin

    return _in_precision(read_spin(path, config).build(Spin.from_config), dtype)


def load_model(path: str | Path, dtype: str = "float32", **config: Any) -> Spin | SpeechEncoder:
    """Load a Spin if the checkpoint holds one, else an encoder.

    dtype, config: as for `load_encoder`. Raises CheckpointError.
    """
    from .encoder import build, read_model

    return _in_precision(build(read_model(path, config)), dtype)


def _in_precision(model, dtype):
    if dtype != "float32":
        (model.encoder if hasattr(model, "head") else model).multiply_in(dtype)
    return model.eval()
