"""Write one self-contained file of this package: encoder, head, codebooks, configuration and description."""

from pathlib import Path

import torch

from ...errors import CheckpointError
from ...files import whole_file
from .source import Source

NAME = "Spin by this package"


def write(source: Source, path: str | Path) -> None:
    """-> {"format", "version", "model": Spin's configuration, "state_dict", "about"}; `load_spin` reads it."""
    source.require_spin("spin")
    # The path of the base on the training machine is of no use elsewhere.
    config = {**source.config, "encoder": source.encoder_config, "checkpoint": source.about.get("base") or ""}
    config.pop("_name", None)
    with whole_file(path, CheckpointError) as temporary, open(temporary, "wb") as file:
        torch.save(
            {
                "format": "spin_fairseq",
                "version": 1,
                "model": config,
                "state_dict": dict(source.model.state_dict()),
                "about": source.about,
            },
            file,
        )
