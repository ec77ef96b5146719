"""Make a manifest of all audio in a folder, for commands that take a manifest or a folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from ..errors import AudioError, ManifestError
from .audio import usable_samples
from .finding import AUDIO_SUFFIXES, check_name, find_audio, printable
from .manifest import Manifest, manifest_at

MOST_NAMED = 5  # skipped files that a message names

logger = logging.getLogger(__name__)


def manifest_of(path: str | Path) -> Manifest:
    """`.../split.tsv` or `.../split.json` -> that manifest; a folder -> a manifest of the audio files below it.

    Files of a folder that are not 16 kHz mono audio are left out; a warning counts them and names the first ones.

    Raises ManifestError: there is no such file or folder, the manifest is malformed, or no file of the folder can be
    read.
    """
    path = Path(path)
    if path.is_dir():
        return _manifest_of_folder(path)
    if path.suffix in (".tsv", ".json"):
        return manifest_at(path)
    raise ManifestError(f"{path}: neither a manifest (.tsv, .json) nor a folder of audio files; give one of them")


def _manifest_of_folder(folder: Path) -> Manifest:
    files = find_audio(folder)
    if not files:
        raise ManifestError(
            f"{folder}: no audio files ({' '.join(sorted(AUDIO_SUFFIXES))}) below this folder; choose another"
        )
    root = os.path.abspath(folder)
    rows, sizes, problems = [], [], []
    for file in files:
        try:
            check_name(file)
            sizes.append(usable_samples(file))
            rows.append(os.fsencode(f"{os.path.relpath(file, root)}\t{sizes[-1]}\n"))
        except AudioError as error:
            problems.append(printable(str(error)))
    listed = "\n  ".join(problems[:MOST_NAMED] + ["..."] * (len(problems) > MOST_NAMED))
    if not rows:
        raise ManifestError(f"{folder}: none of its {len(files)} audio files can be used:\n  {listed}")
    if problems:
        logger.warning(f"{folder}: {len(problems)} of its {len(files)} audio files are left out:\n  {listed}")
    starts = np.cumsum([0] + [len(row) for row in rows[:-1]])
    return Manifest(Path(root), root, b"".join(rows), starts, np.array(sizes, np.int64))
