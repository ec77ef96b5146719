"""Find the audio files that training can read: each is decoded once, so that broken ones are known beforehand."""

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
    source: str  # absolute; the file it was converted from, or the file itself
    note: str = ""  # a warning for the user
    speaker: str | None = None  # None: by the rule for file names


class Checked(NamedTuple):
    """The usable files, and (path, reason) of the others, both in the order given."""

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

    paths: absolute.
    convert: source path -> path of the 16 kHz mono FLAC to make from it; None: files must be 16 kHz mono already.
    channel: which channel is converted, counted from 1; None: the mean of all.
    Raises ManifestError: a conversion would take the place of another file's.
    """
    tasks = [(path, convert(path) if convert else None) for path in paths]
    usable, broken = [], []
    results = in_processes(partial(_check, channel=channel), tasks, jobs, description=description)
    for (found, problem), (path, target) in zip(results, tasks):  # in this order, so that the pool can finish
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
        # The note says the same, with the name of the file.
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
