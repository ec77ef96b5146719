"""Draw the recordings of the dev split by a seed, file by file or speaker by speaker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import ManifestError
from .recordings import Recording

UNITS = ("file", "speaker")


def divide(
    recordings: Sequence[Recording], speaker_of: Callable[[str], str], *, fraction: float, by: str, seed: int
) -> list[bool]:
    """-> for each recording, whether it is in the dev split; at least one is, and at least one is not.

    speaker_of: source path -> speaker.
    fraction: 0..1 of the files, or of the audio; 0: none.
    by: "file"; or "speaker": all files of a speaker are in the same split.
    Raises ManifestError: there is only one file, or only one speaker.
    """
    if not fraction or not recordings:
        return [False] * len(recordings)
    keys = list(range(len(recordings))) if by == "file" else [speaker_of(one.source) for one in recordings]
    sizes = Counter()
    for key, recording in zip(keys, recordings):
        sizes[key] += 1 if by == "file" else recording.samples
    if len(sizes) < 2:
        raise ManifestError(
            f"--dev-fraction: one {by} alone cannot be divided into train and dev; "
            + (
                "divide by file (--dev-by file), or name speakers by another --speaker-from"
                if by == "speaker"
                else "add files"
            )
        )
    names = sorted(sizes)
    wanted, have, chosen = fraction * sum(sizes.values()), 0, set()
    for place in np.random.default_rng(seed).permutation(len(names))[:-1].tolist():
        size = sizes[names[place]]
        if have >= wanted and chosen:
            break
        # No farther from the wanted size than without it
        if not chosen or abs(have + size - wanted) <= abs(have - wanted):
            chosen.add(names[place])
            have += size
    return [key in chosen for key in keys]
