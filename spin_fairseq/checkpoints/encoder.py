"""Reading a pretrained encoder: the format is found from what is in the file, never from its name."""

from ..errors import CheckpointError
from . import fairseq_hubert, microsoft_wavlm
from .files import read_file

READERS = [fairseq_hubert, microsoft_wavlm]


def read_encoder(path):
    """-> Checkpoint; its config has a "kind" and what the encoder is built from. Raises CheckpointError."""
    state = read_file(path)
    for reader in READERS:
        if reader.recognises(state):
            return reader.read(path, state)
    keys = ", ".join(sorted(map(str, state))[:12])
    known = ", ".join(reader.NAME for reader in READERS)
    raise CheckpointError(f"{path}: a checkpoint of another kind (keys: {keys}); what can be read: {known}")
