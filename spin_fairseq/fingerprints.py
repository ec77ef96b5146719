"""Fingerprints, which show that a checkpoint, a split or an option has changed since a piece of work was done."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def file_fingerprint(path: str | Path) -> list[list[Any]]:
    """Name, size and time of a checkpoint; of the files in it, if it is a folder."""
    files = sorted(Path(path).iterdir()) if os.path.isdir(path) else [Path(path)]
    return [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def content_digest(path: str | Path) -> str:
    """Of what a file holds, or the files of a folder: the same for a copy, on whatever machine."""
    digest = hashlib.sha256()
    for file in sorted(Path(path).iterdir()) if os.path.isdir(path) else [Path(path)]:
        if file.is_file():
            with open(file, "rb") as content:
                while block := content.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def manifest_fingerprint(manifest: Any) -> str:
    """Paths and lengths of a split, in order, as a hexadecimal digest."""
    digest = hashlib.sha256(np.ascontiguousarray(manifest.sizes).tobytes())
    for i in range(len(manifest)):
        digest.update(manifest.path(i).encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def digest_of(content: Any) -> str:
    """A short hexadecimal digest of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
