"""From folders of audio to manifests: find the files, convert them if wanted, check every one, write."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from collections.abc import Sequence

from spin_fairseq.errors import ManifestError
from spin_fairseq.files import whole_file, write_text
from spin_fairseq.preparation.recordings import Recording, check_audio, stem_of
from spin_fairseq.preparation.speakers import implied_speaker, speaker_report, speaker_rule
from spin_fairseq.preparation.splitting import divide
from spin_fairseq.speech.audio import SAMPLE_RATE
from spin_fairseq.speech.finding import AUDIO_SUFFIXES, find_audio, printable
from spin_fairseq.speech.manifest import write_manifest

LIBRISPEECH_SUBSETS = tuple(
    "dev-clean dev-other test-clean test-other train-clean-100 train-clean-360 train-other-500".split()
)
MOST_NAMED = 3  # files in a report


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
        content = "".join(f"{printable(path)}\t{printable(reason)}\n" for path, reason in broken)
        write_text(listing, content, ManifestError)
        lines.append(f"  left out: {_count(len(broken), 'file')}, listed with reasons in {listing}; the first:")
        lines += [f"    {printable(path)}: {printable(reason)}" for path, reason in broken[:MOST_NAMED]]
    elif listing.exists():
        listing.unlink()  # of an earlier run
    if not recordings:
        raise ManifestError("\n".join([f"split {split}: no usable audio, so no manifest was written", *lines]))

    noted = [recording for recording in recordings if recording.note]
    if noted:
        lines.append(f"  warning: {_count(len(noted), 'file')} should be looked at; the first:")
        lines += [f"    {printable(recording.source)}: {recording.note}" for recording in noted[:MOST_NAMED]]
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


# --- LibriSpeech ------------------------------------------------------------------------------------------------


def is_librispeech(root: str | Path) -> bool:
    """Whether the folder, or `LibriSpeech/` in it, has SPEAKERS.TXT or a subset by the name that LibriSpeech gives it."""
    tops = (Path(root), Path(root) / "LibriSpeech")
    return any(
        (top / "SPEAKERS.TXT").is_file() or any((top / name).is_dir() for name in LIBRISPEECH_SUBSETS) for top in tops
    )


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
    channel: int | None = None,
    dev_split: str = "dev",
    dev_fraction: float = 0.0,
    dev_by: str = "file",
    seed: int = 0,
) -> list[str]:
    """Write `{split}.tsv` of all audio below `folders`, and `{dev_split}.tsv` of a random part of it if wanted.

    Args:
        speaker_from: as `speakers.speaker_rule` takes it.
        convert_to: where to put 16 kHz mono FLAC copies; None: files that are not such are left out.
        channel: which one is converted of files with several, from 1; None: their mean.
        dev_fraction: of the utterances, or of the audio, that goes to `dev_split`; 0..1.
        dev_by: "file", or "speaker": no speaker is in both splits.
        seed: of the choice of files or speakers.

    Returns:
        lines of report.

    Raises:
        ManifestError: a folder is missing or has no usable audio; a conversion would take the place of another file;
            the speakers cannot be told, or divided.
    """
    tops = [os.path.abspath(folder) for folder in folders]
    for top in tops:
        if not os.path.isdir(top):
            raise ManifestError(f"{top}: no such folder; check its name")
    if dev_fraction and dev_split == split:
        raise ManifestError(f"--split and --dev-split are both {split!r}; name one of them otherwise")
    paths = sorted({path for top in tops for path in find_audio(top, leave_out=convert_to)})
    if not paths:
        raise ManifestError(
            f"{', '.join(tops)}: no audio files ({' '.join(sorted(AUDIO_SUFFIXES))}); choose another folder"
        )
    speaker_of = speaker_rule(speaker_from, tops)
    for path in paths:
        speaker_of(path)  # a pattern that does not match is told before the work
    common = os.path.commonpath(tops)
    root = os.path.abspath(convert_to) if convert_to else common
    convert = target_names(paths, common, root).__getitem__ if convert_to else None
    recordings, broken = check_audio(paths, jobs=jobs, description=split, convert=convert, channel=channel)
    named = []
    for one in recordings:
        speaker = speaker_of(one.source)
        implied = speaker_from == "stem" and implied_speaker(one.path) == speaker
        named.append(one if implied else one._replace(speaker=speaker))

    in_dev = divide(named, speaker_of, fraction=dev_fraction, by=dev_by, seed=seed)
    report = [write_split(out, split, root, [one for one, dev in zip(named, in_dev) if not dev], broken)]
    if any(in_dev):
        report.append(write_split(out, dev_split, root, [one for one, dev in zip(named, in_dev) if dev], []))
    repeated = sum(n for n in Counter(stem_of(one.path) for one in named).values() if n > 1)
    if repeated:
        report.append(
            f"note: {_count(repeated, 'file')} share their name with another; their ids are their paths below {root}"
        )
    return report + speaker_report(named, speaker_of, speaker_from)


def target_names(paths: Sequence[str], common: str, root: str) -> dict[str, str]:
    """Source -> FLAC file at the same place below `root`; where two would share one, both keep their suffix (a.wav.flac).

    Raises:
        ManifestError: a conversion would take the place of a source.
    """
    whole = {path: os.path.relpath(path, common) for path in paths}
    names = {path: os.path.splitext(name)[0] for path, name in whole.items()}
    while True:
        counts = Counter(names.values())
        shared = [path for path, name in names.items() if counts[name] > 1 and name != whole[path]]
        if not shared:
            break
        names.update((path, whole[path]) for path in shared)  # which may be the name that another has
    targets = {path: os.path.join(root, name + ".flac") for path, name in names.items()}
    for target in targets.values():
        if target in whole:
            raise ManifestError(f"{target}: is itself to be converted; choose another folder with --convert-to")
    return targets
