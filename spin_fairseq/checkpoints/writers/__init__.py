"""One writer per format: each has NAME and `write(source, destination)`. A file gets its name once it is complete."""

import os
from contextlib import contextmanager
from pathlib import Path
from collections.abc import Iterator
from typing import Any

from ...errors import ConfigError
from ...files import folder_set_aside
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


def convert(
    source: str | Path, destination: str | Path, to: str, given: dict[str, Any] | None = None,
    codebook: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Convert the checkpoint `source`, of any format that can be read, to the format `to`, and write it to `destination`.

    given: keys of the encoder's configuration that the source lacks, as for `load_encoder`. codebook: of a Spin with several, the
    only one to export; None: all of them, of which the first gives the units.
    Returns what the export says about itself. Raises CheckpointError; ConfigError for an unknown format, or if the source
    would be replaced.
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


@contextmanager
def export_set_aside(folder: str | Path) -> Iterator[None]:
    """Move an existing export folder out of the way; it comes back if the block fails."""
    folder = Path(folder)
    if not folder.is_dir():
        yield
        return
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: a folder that is no export, which --overwrite leaves alone; choose another --out")
    with folder_set_aside(folder):
        yield
