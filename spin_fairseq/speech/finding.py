"""Find audio files below a folder, by the same list of suffixes in every command that takes a folder."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from ..errors import AudioError

# Formats that soundfile, sox or ffmpeg may read; a file that none of them can read is reported, not silently skipped.
AUDIO_SUFFIXES = frozenset(
    ".aac .aif .aifc .aiff .amr .au .caf .flac .gsm .m4a .mp2 .mp3 .mp4 .nist .oga .ogg .opus .rf64 .snd .sph .voc "
    ".w64 .wav .webm .wma .wv".split()
)

logger = logging.getLogger(__name__)


def find_audio(folder: str | Path, leave_out: str | Path | None = None) -> list[str]:
    """Absolute paths of all audio files below `folder`, sorted; links are followed, hidden files are ignored.

    A folder without read permission is logged and skipped.

    leave_out: a folder that is not searched (it holds the conversions of an earlier run).
    """
    left_out = os.path.realpath(leave_out) if leave_out else None
    found, visited = [], set()
    for parent, folders, files in os.walk(os.path.abspath(folder), followlinks=True, onerror=_warn_of_folder):
        real = os.path.realpath(parent)
        if real in visited or real == left_out:  # a link may lead back up
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                found.append(os.path.join(parent, name))
    return sorted(found)


def check_name(path: str) -> None:
    """Raises AudioError if a manifest, or a file of ids, cannot hold the name."""
    if re.search(r"[\t\n\r]", path):
        raise AudioError(f"{path}: has a tab or line break in its name, which a manifest cannot hold; rename it")


def printable(text: str) -> str:
    """The path on one line, whatever characters it contains."""
    text = re.sub(r"[\x00-\x1f\x7f]", lambda found: repr(found[0])[1:-1], text)
    return text.encode("utf-8", "backslashreplace").decode()


def _warn_of_folder(error: OSError) -> None:
    logger.warning(
        f"{printable(str(error.filename))}: the folder cannot be searched ({error.strerror or error}); check its permissions"
    )
