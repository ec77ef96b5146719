"""A manifest of whatever audio lies in a folder, for tools that take either."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..errors import ManifestError
from .audio import audio_info
from .manifest import Manifest, load_manifest, write_manifest

SUFFIXES = (".flac", ".wav", ".ogg", ".opus", ".mp3")


def manifest_of(path: str | Path) -> Manifest:
    """`.../split.tsv` or `.../split.json` -> that manifest; a folder -> one of the audio files below it.

    Raises ManifestError, AudioError.
    """
    path = Path(path)
    if path.suffix in (".tsv", ".json"):
        return load_manifest(path.parent, path.stem)
    if not path.is_dir():
        raise ManifestError(f"{path}: neither a manifest (.tsv, .json) nor a folder of audio files; give one of them")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ManifestError(f"{path}: no audio files ({', '.join(SUFFIXES)}) below this folder; choose another")
    rows = [(os.path.relpath(file, path), audio_info(file)[0]) for file in files]
    with tempfile.TemporaryDirectory() as folder:
        write_manifest(Path(folder) / "all.tsv", path.resolve(), rows)
        return load_manifest(folder, "all")
