"""Derive the speaker of a file from its path by a rule, and report how much speech there is of each speaker."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence

from ..errors import ManifestError
from ..speech.audio import SAMPLE_RATE
from ..speech.finding import printable
from .recordings import Recording, stem_of

SPEAKER_RULES = ("stem", "folder", "top", "none")
UNKNOWN = "unknown"
MOST_NAMED = 8  # speakers that a report names


def speaker_rule(rule: str, tops: Sequence[str]) -> Callable[[str], str]:
    """-> a function: absolute path of a file below one of `tops` -> its speaker.

    rule: "stem": what precedes the first `-` in the file's name; "folder": the folder that holds the file; "top": the
    first folder below the one being prepared; "none": "unknown", one speaker for all; or a regular expression with one
    group, which is searched in the path below the folder being prepared (separated by /).
    tops: the folders being prepared, absolute.
    Raises ManifestError: the rule is none of these. The returned function raises it where the expression does not
    match, or matches an empty string.
    """
    named = {"stem": _by_stem, "folder": _by_folder, "none": lambda path: UNKNOWN}
    if rule in named:
        return named[rule]
    if rule == "top":
        return lambda path: _by_top(path, tops)
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise ManifestError(f"--speaker-from {rule!r}: is no regular expression ({error}); mend it") from error
    if pattern.groups != 1:
        raise ManifestError(
            f"--speaker-from {rule!r}: is none of {', '.join(SPEAKER_RULES)}, nor a regular expression with one group, "
            r"such as '([^/]+)/session\d+/'"
        )
    return lambda path: _by_pattern(path, pattern, tops)


def _by_stem(path: str) -> str:
    return implied_speaker(path) or UNKNOWN


def implied_speaker(path: str) -> str:
    """The speaker of a manifest row without a speaker column; "" if the file's name begins with a dash."""
    return stem_of(path).split("-", 1)[0]


def _by_folder(path: str) -> str:
    return os.path.basename(os.path.dirname(path)) or UNKNOWN


def _by_top(path: str, tops: Sequence[str]) -> str:
    top = _top_of(path, tops)
    first, *rest = os.path.relpath(path, top).split(os.sep)
    return first if rest else os.path.basename(top) or UNKNOWN


def _by_pattern(path: str, pattern: re.Pattern, tops: Sequence[str]) -> str:
    below = os.path.relpath(path, _top_of(path, tops)).replace(os.sep, "/")
    found = pattern.search(below)
    if not found or not found[1]:
        what = "does not match" if not found else "finds an empty speaker in"
        raise ManifestError(
            f"{printable(path)}: --speaker-from {pattern.pattern!r} {what} {printable(below)!r}; mend it"
        )
    return found[1]


def _top_of(path: str, tops: Sequence[str]) -> str:
    """The deepest of the folders that contain the path."""
    return max((top for top in tops if path.startswith(os.path.join(top, ""))), key=len)


def speaker_report(recordings: Sequence[Recording], speaker_of: Callable[[str], str], rule: str) -> list[str]:
    """Lines about the speakers and their minutes, with a warning if the rule looks wrong."""
    seconds, stems = Counter(), {}
    for recording in recordings:
        speaker = speaker_of(recording.source)
        seconds[speaker] += recording.samples / SAMPLE_RATE
        stems.setdefault(stem_of(recording.source), set()).add(os.path.dirname(recording.source))
    named = [f"{printable(name)} {one / 60:.1f}" for name, one in seconds.most_common(MOST_NAMED)]
    more = "" if len(seconds) <= MOST_NAMED else f", ... {min(seconds.values()) / 60:.1f}"
    word = "speaker" if len(seconds) == 1 else "speakers"
    lines = [f"{len(seconds):,} {word} by --speaker-from {rule}; minutes: {', '.join(named)}{more}"]
    choose = f"choose another rule if that is not so: --speaker-from {', '.join(SPEAKER_RULES)}, or a pattern"
    if len(recordings) > 1 and len(seconds) == 1 and rule != "none":
        lines.append(f"warning: all {len(recordings):,} files are of one speaker; {choose}")
    elif len(recordings) > 1 and len(seconds) == len(recordings):
        lines.append(f"warning: each of the {len(recordings):,} files is of a speaker of its own; {choose}")
    elif rule == "stem" and len(seconds) > 1:
        repeated = sum(len(folders) > 1 for folders in stems.values())
        if repeated:
            lines.append(
                f"warning: {repeated:,} file names are found in several folders, whose files are then one speaker; {choose}"
            )
    return lines
