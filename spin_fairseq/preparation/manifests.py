"""From folders of audio to manifests: find the files, convert them if wanted, check every one, write.

Every file is decoded once, here, so that a broken one is known by name before training and not in its middle.
`spin-fairseq prepare` is the command line.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Iterable, Sequence

import numpy as np
from tqdm import tqdm

from spin_fairseq.speech.audio import SAMPLE_RATE, read_audio
from spin_fairseq.preparation.conversion import convert_to_flac
from spin_fairseq.speech.manifest import write_manifest
from spin_fairseq.errors import AudioError, ManifestError
from spin_fairseq.files import whole_file, write_text

# Containers of audio that soundfile or sox may read; a file that neither reads is reported, not passed over.
AUDIO_SUFFIXES = frozenset(
    ".aac .aif .aifc .aiff .amr .au .caf .flac .gsm .m4a .mp2 .mp3 .mp4 .nist .oga .ogg .opus .rf64 .snd .sph .voc "
    ".w64 .wav .webm .wma .wv".split()
)
LIBRISPEECH_SUBSETS = tuple(
    "dev-clean dev-other test-clean test-other train-clean-100 train-clean-360 train-other-500".split()
)


@dataclass(frozen=True)
class Recording:
    """A file that training can read; `speaker` None: by the rule of the file's name."""

    path: str  # absolute
    samples: int
    speaker: str | None = None

    @property
    def utterance_id(self) -> str:
        return os.path.splitext(os.path.basename(self.path))[0]


def find_audio(folder: str | Path, leave_out: str | Path | None = None) -> list[str]:
    """Absolute paths of all audio files below `folder`, sorted; links are followed, hidden files are not seen.

    Args:
        leave_out: a folder that is not searched (where an earlier run put its conversions).
    """
    left_out = os.path.realpath(leave_out) if leave_out else None
    found, visited = [], set()
    for parent, folders, files in os.walk(os.path.abspath(folder), followlinks=True):
        real = os.path.realpath(parent)
        if real in visited or real == left_out:  # a link may lead back up
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                found.append(os.path.join(parent, name))
    return sorted(found)


def check_audio(
    paths: Sequence[str],
    *,
    jobs: int,
    description: str,
    convert: Callable[[str], str] | None = None,
    speaker_of: Callable[[str], str | None] = lambda path: None,
) -> tuple[list[Recording], list[tuple[str, str]]]:
    """Decode every file, in `jobs` processes.

    Args:
        paths: absolute.
        convert: source path -> path of the 16 kHz mono FLAC to be made of it; None: files must be such already.
        speaker_of: source path -> speaker.

    Returns:
        the usable recordings, in the order of `paths`, and (path, reason) of the others.
    """
    tasks = [(path, convert(path) if convert else None) for path in paths]
    usable, broken = [], []
    results = mapped(_check, tasks, jobs, description)
    for (samples, problem), (path, target) in zip(results, tasks):  # in this order: it lets the pool finish
        if problem:
            broken.append((path, problem))
        else:
            usable.append(Recording(target or path, samples, speaker_of(path)))
    return usable, broken


def _check(task: tuple[str, str | None]) -> tuple[int, str]:
    """-> (samples, "") or (0, what is wrong)."""
    path, target = task
    if re.search(r"[\t\n\r]", path):
        return 0, "has a tab or line break in its name, which a manifest cannot hold; rename it"
    try:
        return (convert_to_flac(path, target) if target else len(read_audio(path))), ""
    except AudioError as error:
        return 0, str(error)[len(path) + 2 :] if str(error).startswith(f"{path}: ") else str(error)
    except OSError as error:
        return 0, f"cannot be read or written: {error.strerror or error}"


def mapped(function: Callable, tasks: Sequence, jobs: int, description: str) -> Iterable:
    """map(function, tasks) in `jobs` processes, in order, with a progress bar."""
    bar = partial(_Bar, total=len(tasks), desc=description, unit="file", dynamic_ncols=True)
    if jobs <= 1 or len(tasks) < 2:
        yield from bar(map(function, tasks))
        return
    with ProcessPoolExecutor(jobs, initializer=_leave_interrupts_to_the_parent) as pool:
        try:
            # Small chunks keep the bar moving; the pool starts before the bar and its thread.
            results = pool.map(function, tasks, chunksize=max(1, min(32, len(tasks) // (8 * jobs))))
            yield from bar(results)
        except BrokenProcessPool as error:
            raise AudioError(
                f"{description}: a worker process died (out of memory, or a decoder crashed); "
                "--workers 1 shows at which file"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class _Bar(tqdm):
    monitor_interval = 0  # its watching thread would be alive when the next pool forks


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def write_split(
    out: str | Path, split: str, root: str | Path, recordings: Sequence[Recording], broken: Sequence[tuple[str, str]]
) -> str:
    """Write `{split}.tsv`, and `{split}.broken.txt` with what was left out and why; -> a report of a few lines.

    Raises:
        ManifestError: there is nothing usable; the list of what is wrong is written all the same.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    listing = out / f"{split}.broken.txt"
    lines = []
    if broken:
        write_text(listing, "".join(f"{path}\t{reason}\n" for path, reason in broken), ManifestError)
        lines.append(f"  left out: {_count(len(broken), 'file')}, listed with reasons in {listing}; the first:")
        lines += [f"    {_printable(path)}: {reason}" for path, reason in broken[:3]]
    elif listing.exists():
        listing.unlink()  # of an earlier run
    if not recordings:
        raise ManifestError("\n".join([f"split {split}: no usable audio, so no manifest was written", *lines]))

    rows = (
        (os.path.relpath(recording.path, root), recording.samples, *([recording.speaker] if recording.speaker else []))
        for recording in recordings
    )
    write_manifest(out / f"{split}.tsv", root, rows)
    hours = sum(recording.samples for recording in recordings) / SAMPLE_RATE / 3600
    size = f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"
    return "\n".join([f"{split}: {_count(len(recordings), 'utterance')}, {size} -> {out / split}.tsv", *lines])


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


# --- LibriSpeech ------------------------------------------------------------------------------------------------


def is_librispeech(root: str | Path) -> bool:
    """Whether the folder, or `LibriSpeech/` in it, has SPEAKERS.TXT or a subset by the name that LibriSpeech gives it."""
    tops = (Path(root), Path(root) / "LibriSpeech")
    return any((top / "SPEAKERS.TXT").is_file() or any((top / name).is_dir() for name in LIBRISPEECH_SUBSETS) for top in tops)


def prepare_librispeech(root: str | Path, out: str | Path, splits: dict[str, list[str]], *, jobs: int) -> list[str]:
    """Write a manifest per split of a LibriSpeech-shaped tree, and put its SPEAKERS.TXT beside them.

    Args:
        root: the folder that holds the subsets, or the one with `LibriSpeech/` in it.
        splits: split -> subsets, such as {"train": ["train-clean-100"]}.

    Returns:
        lines of report.

    Raises:
        ManifestError: a subset is missing, or a split has no usable audio.
    """
    root = Path(os.path.abspath(root))
    if (root / "LibriSpeech").is_dir():
        root = root / "LibriSpeech"
    missing = [subset for subsets in splits.values() for subset in subsets if not (root / subset).is_dir()]
    if missing:
        there = sorted(child.name for child in root.iterdir() if child.is_dir()) if root.is_dir() else []
        raise ManifestError(
            f"{root}: no folder {', '.join(missing)}; there {'are: ' + ', '.join(there) if there else 'is none at all'}. "
            "Choose subsets with --train and --dev, or unpack the missing ones (https://www.openslr.org/12)"
        )
    report = []
    for split, subsets in splits.items():
        paths = [path for subset in subsets for path in find_audio(root / subset)]
        report.append(write_split(out, split, root, *check_audio(paths, jobs=jobs, description=split)))
    speakers = root / "SPEAKERS.TXT"
    if speakers.is_file():
        copied = Path(out) / "SPEAKERS.TXT"
        if not (copied.exists() and copied.samefile(speakers)):
            with whole_file(copied, ManifestError) as temporary:
                shutil.copyfile(speakers, temporary)
        report.append(f"pitch ranges: task.speaker_pitch={copied}")
    else:
        report.append(f"no SPEAKERS.TXT in {root}: without task.speaker_pitch all speakers share one wide pitch range")
    return report


# --- any folder -------------------------------------------------------------------------------------------------


def prepare_folders(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    split: str,
    jobs: int,
    speaker_from: str = "stem",
    convert_to: str | Path | None = None,
    valid_split: str = "dev",
    valid_percent: float = 0.0,
    seed: int = 0,
) -> list[str]:
    """Write `{split}.tsv` of all audio below `folders`, and `{valid_split}.tsv` of a random part of it if wanted.

    Args:
        speaker_from: "stem": what stands before the first `-` of the file's name; "folder": the folder that the
            file lies in; "none": not known, one speaker for all.
        convert_to: where to put 16 kHz mono FLAC copies; None: files that are not such are left out.
        valid_percent: share of the utterances that goes to `valid_split`, 0..100.

    Returns:
        lines of report.

    Raises:
        ManifestError: a folder is missing or has no usable audio.
    """
    tops = [os.path.abspath(folder) for folder in folders]
    for top in tops:
        if not os.path.isdir(top):
            raise ManifestError(f"{top}: no such folder; check its name")
    paths = sorted({path for top in tops for path in find_audio(top, leave_out=convert_to)})
    if not paths:
        raise ManifestError(f"{', '.join(tops)}: no audio files ({' '.join(sorted(AUDIO_SUFFIXES))}); choose another folder")
    common = os.path.commonpath(tops)
    root = os.path.abspath(convert_to) if convert_to else common
    convert = _target_names(paths, common, root).__getitem__ if convert_to else None
    recordings, broken = check_audio(
        paths, jobs=jobs, description=split, convert=convert, speaker_of=partial(_speaker, rule=speaker_from)
    )

    report = []
    chosen = np.zeros(len(recordings), bool)
    if valid_percent > 0 and len(recordings) > 1:
        count = min(len(recordings) - 1, max(1, round(len(recordings) * valid_percent / 100)))
        chosen[np.random.default_rng(seed).permutation(len(recordings))[:count]] = True
        valid = [recording for recording, is_valid in zip(recordings, chosen) if is_valid]
        report.append(write_split(out, valid_split, root, valid, []))
    train = [recording for recording, is_valid in zip(recordings, chosen) if not is_valid]
    report.insert(0, write_split(out, split, root, train, broken))

    repeated = sum(n for n in Counter(recording.utterance_id for recording in recordings).values() if n > 1)
    if repeated:
        report.append(
            f"note: {_count(repeated, 'file')} share their name with another; phone labels and units go by that name"
        )
    return report


def _target_names(paths: Sequence[str], common: str, root: str) -> dict[str, str]:
    """Source -> FLAC file at the same place below `root`; a.wav beside a.mp3 keep their suffixes (a.wav.flac)."""
    stems = {path: os.path.splitext(os.path.relpath(path, common))[0] for path in paths}
    counts = Counter(stems.values())
    return {
        path: os.path.join(root, (stem if counts[stem] == 1 else os.path.relpath(path, common)) + ".flac")
        for path, stem in stems.items()
    }


def _speaker(path: str, rule: str) -> str | None:
    if rule == "folder":
        return os.path.basename(os.path.dirname(path)) or "unknown"
    return "unknown" if rule == "none" else None
