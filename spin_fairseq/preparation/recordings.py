"""Audio files that training can read: each is decoded once, so that a broken one is known before training."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple
from collections.abc import Callable, Sequence

from ..errors import AudioError
from ..processes import in_processes
from ..speech.audio import check_long_enough, read_audio
from ..speech.finding import check_name
from .conversion import MP3_SUFFIXES, Converted, convert_to_flac, unread
from .mp3_warnings import without_xing_warnings


class Recording(NamedTuple):
    """A file that training can read."""

    path: str  # absolute
    samples: int
    source: str  # absolute; what it was converted from, else itself
    note: str = ""  # what whoever listens should know
    speaker: str | None = None  # None: by the rule of the file's name


class Checked(NamedTuple):
    """Those that can be used, and (path, reason) of the others, each in the order in which they were given."""

    usable: list[Recording]
    broken: list[tuple[str, str]]


def check_audio(
    paths: Sequence[str],
    *,
    jobs: int,
    description: str,
    convert: Callable[[str], str] | None = None,
    channel: int | None = None,
) -> Checked:
    """Decode every file, in `jobs` processes.

    Args:
        paths: absolute.
        convert: source path -> path of the 16 kHz mono FLAC to be made of it; None: files must be such already.
        channel: which channel is converted, from 1; None: the mean of all.

    Raises:
        ManifestError: a conversion would take the place of another file's.
    """
    tasks = [(path, convert(path) if convert else None) for path in paths]
    usable, broken = [], []
    results = in_processes(partial(_check, channel=channel), tasks, jobs, description=description)
    for (found, problem), (path, target) in zip(results, tasks):  # in this order: it lets the pool finish
        if found is None:
            broken.append((path, problem))
        else:
            usable.append(Recording(target or path, found.samples, path, found.note))
    return Checked(usable, broken)


def _check(task: tuple[str, str | None], channel: int | None) -> tuple[Converted | None, str]:
    """-> (samples and note, "") or (None, what is wrong)."""
    path, target = task
    try:
        check_name(path)
        # What it warns of is told of the file, by name, in the note.
        with without_xing_warnings() if path.lower().endswith(MP3_SUFFIXES) else nullcontext():
            if target is None:
                samples = len(read_audio(path))
                found = Converted(samples, unread(path, samples))
            else:
                found = convert_to_flac(path, target, channel)
        check_long_enough(path, found.samples)
        return found, ""
    except AudioError as error:
        return None, str(error)[len(path) + 2 :] if str(error).startswith(f"{path}: ") else str(error)
    except OSError as error:
        return None, f"cannot be read or written: {error.strerror or error}"


def stem_of(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
