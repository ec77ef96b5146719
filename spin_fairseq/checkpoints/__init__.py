"""Reading checkpoints: one reader for each format, behind three functions.

The readers turn a file into a configuration and tensors; the doors, at the end of this file, build the models that such
a configuration describes.
"""


def load_encoder(path, **config):
    """An encoder in eval mode, from any checkpoint that `read_encoder` knows; of a Spin checkpoint, the encoder in it.

    path: a file, or a folder of the transformers library.
    config: keys of the encoder's configuration under fairseq's names that take the place of the file's; some formats
    leave a few open, as the number of attention heads, and the log says what was assumed.

    Returns a SpeechEncoder: `extract_features(source, padding_mask, output_layer)`. Raises CheckpointError.
    """
    from ..encoders import SpeechEncoder
    from .encoder import read_encoder

    return read_encoder(path, config).build(SpeechEncoder).eval()


def load_spin(path, **config):
    """A Spin in eval mode: of this package's training and exports, or of the reference's (`.ckpt`).

    config: as for `load_encoder`. Raises CheckpointError.
    """
    from ..spin_model import Spin
    from .encoder import read_spin

    return read_spin(path, config).build(Spin.from_config).eval()


def load_model(path, **config):
    """A Spin where the checkpoint is one, else an encoder alone. config: as for `load_encoder`. Raises CheckpointError."""
    from ..encoders import SpeechEncoder
    from ..spin_model import Spin
    from .encoder import read_model

    checkpoint = read_model(path, config)
    return checkpoint.build(Spin.from_config if checkpoint.is_spin else SpeechEncoder).eval()
