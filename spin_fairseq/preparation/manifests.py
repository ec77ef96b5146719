"""From folders of audio to manifests: find the files, convert them if asked to, check each one, write."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from collections.abc import Sequence

from spin_fairseq.errors import ManifestError, ShardError
from spin_fairseq.files import whole_file, write_text
from spin_fairseq.preparation.recordings import Checked, Recording, check_audio, stem_of
from spin_fairseq.preparation.speakers import implied_speaker, speaker_report, speaker_rule
from spin_fairseq.preparation.splitting import divide
from spin_fairseq.shards import Shard, span
from spin_fairseq.speech.audio import SAMPLE_RATE
from spin_fairseq.speech.finding import AUDIO_SUFFIXES, find_audio, printable
from spin_fairseq.speech.manifest import write_manifest

LIBRISPEECH_SUBSETS = tuple(
    "dev-clean dev-other test-clean test-other train-clean-100 train-clean-360 train-other-500".split()
)
MOST_NAMED = 3  # files that a report names


class Listing(NamedTuple):
    """Files that manifests are to be made of."""

    root: str  # absolute; that of the manifests
    paths: dict[str, list[str]]  # split -> absolute paths
    targets: dict[str, str] | None = None  # path -> where it is converted to


def check(listing: Listing, *, jobs: int, channel: int | None = None, shard: Shard | None = None) -> dict[str, Checked]:
    """Decode or convert every file of a listing, or those of a shard, each of which has about as many bytes to read.

    Raises ManifestError: a conversion would take the place of another file's.
    """
    convert, checked = listing.targets.__getitem__ if listing.targets else None, {}
    for split, paths in listing.paths.items():
        if shard is not None:
            begin, end = span([_bytes_of(path) for path in paths], shard)
            paths = paths[begin:end]
        checked[split] = check_audio(paths, jobs=jobs, description=split, convert=convert, channel=channel)
    return checked


def _bytes_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # a broken link, which is told when it is read
        return 0


def write_checked(path: str | Path, checked: dict[str, Checked]) -> None:
    """Keep what `check` found of a shard, as JSON. Raises ManifestError."""
    write_text(path, json.dumps(checked), ManifestError)


def read_checked(listing: Listing, paths: Sequence[Path]) -> dict[str, Checked]:
    """What `check` would find of a listing, from what `write_checked` has kept of its shards, in their order.

    Raises ShardError: they are not of the same files, since sizes changed between the shards.
    """
    joined = {split: Checked([], []) for split in listing.paths}
    for path in paths:
        for split, (usable, broken) in json.loads(path.read_text()).items():
            joined[split].usable.extend(Recording(*fields) for fields in usable)
            joined[split].broken.extend((place, reason) for place, reason in broken)
    for split, (usable, broken) in joined.items():
        if sorted([*(one.source for one in usable), *(place for place, _ in broken)]) != sorted(listing.paths[split]):
            raise ShardError(
                f"split {split}: its shards do not have every file once, since files changed while they ran; run all of them "
                "anew"
            )
    return joined


def write_split(
    out: str | Path, split: str, root: str | Path, recordings: Sequence[Recording], broken: Sequence[tuple[str, str]]
) -> str:
    """Write `{split}.tsv`, and `{split}.broken.txt`, which lists what was left out and why -> a few lines of report.

    Raises ManifestError: no file is usable; `{split}.broken.txt` is written all the same.
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
        listing.unlink()  # left by an earlier run
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
    """Whether the folder, or `LibriSpeech/` in it, holds SPEAKERS.TXT or a subset under its LibriSpeech name."""
    tops = (Path(root), Path(root) / "LibriSpeech")
    return any(
        (top / "SPEAKERS.TXT").is_file() or any((top / name).is_dir() for name in LIBRISPEECH_SUBSETS) for top in tops
    )


def list_librispeech(root: str | Path, splits: dict[str, list[str]]) -> Listing:
    """The files of each split of a LibriSpeech-shaped tree.

    root: the folder that holds the subsets, or the one with `LibriSpeech/` in it.
    splits: split -> subsets, such as {"train": ["train-clean-100"]}.
    Raises ManifestError: a subset is missing.
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
    paths = {
        split: [path for subset in subsets for path in find_audio(root / subset)] for split, subsets in splits.items()
    }
    return Listing(str(root), paths)


def write_librispeech(listing: Listing, out: str | Path, checked: dict[str, Checked]) -> list[str]:
    """Write a manifest of each split, and put SPEAKERS.TXT beside them -> lines of report.

    Raises ManifestError: a split has no usable audio.
    """
    root = Path(listing.root)
    report = [write_split(out, split, root, *checked[split]) for split in listing.paths]
    speakers = root / "SPEAKERS.TXT"
    if speakers.is_file():
        copied = Path(out) / "SPEAKERS.TXT"
        if not (copied.exists() and copied.samefile(speakers)):
            with whole_file(copied, ManifestError) as temporary:
                shutil.copyfile(speakers, temporary)
        report.append(f"pitch ranges: task.speaker_pitch={copied}")
    else:
        report.append(
            f"no SPEAKERS.TXT in {root}: without task.speaker_pitch a pitch range is estimated for each utterance"
        )
    return report


# --- any folder -------------------------------------------------------------------------------------------------


def list_folders(
    folders: Sequence[str | Path],
    split: str,
    *,
    dev_split: str | None = None,
    speaker_from: str = "stem",
    convert_to: str | Path | None = None,
) -> Listing:
    """All audio below `folders`, and where it is converted to.

    dev_split: the name of the other split, if some of the audio is to become one.
    speaker_from: as `speakers.speaker_rule` takes it.
    convert_to: where to put 16 kHz mono FLAC copies; None: files that are not such are left out.
    Raises ManifestError: a folder is missing or has no audio; a conversion would take the place of another file; the
    speakers cannot be told.
    """
    tops = [os.path.abspath(folder) for folder in folders]
    for top in tops:
        if not os.path.isdir(top):
            raise ManifestError(f"{top}: no such folder; check its name")
    if dev_split == split:
        raise ManifestError(f"--split and --dev-split are both {split!r}; name one of them otherwise")
    paths = sorted({path for top in tops for path in find_audio(top, leave_out=convert_to)})
    if not paths:
        raise ManifestError(
            f"{', '.join(tops)}: no audio files ({' '.join(sorted(AUDIO_SUFFIXES))}); choose another folder"
        )
    speaker_of = speaker_rule(speaker_from, tops)
    for path in paths:
        speaker_of(path)  # a pattern that does not match must fail before the work begins
    common = os.path.commonpath(tops)
    root = os.path.abspath(convert_to) if convert_to else common
    return Listing(root, {split: paths}, target_names(paths, common, root) if convert_to else None)


def write_folders(
    listing: Listing,
    out: str | Path,
    checked: dict[str, Checked],
    folders: Sequence[str | Path],
    *,
    speaker_from: str = "stem",
    dev_split: str = "dev",
    dev_fraction: float = 0.0,
    dev_by: str = "file",
    seed: int = 0,
) -> list[str]:
    """Write the manifest of a listing, and `{dev_split}.tsv` of a random part of it if wanted -> lines of report.

    dev_fraction: of the utterances, or of the audio, that goes to `dev_split`; 0..1.
    dev_by: "file", or "speaker": no speaker is in both splits.
    seed: of the choice of files or speakers.
    Raises ManifestError: there is no usable audio, or the speakers cannot be divided.
    """
    (split,), root = listing.paths, listing.root
    speaker_of = speaker_rule(speaker_from, [os.path.abspath(folder) for folder in folders])
    recordings, broken = checked[split]
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
    """{source: FLAC file at the same place below `root`}; if two would share one, both keep their suffix (a.wav.flac).

    Raises ManifestError: a conversion would take the place of a source.
    """
    whole = {path: os.path.relpath(path, common) for path in paths}
    names = {path: os.path.splitext(name)[0] for path, name in whole.items()}
    while True:
        counts = Counter(names.values())
        shared = [path for path, name in names.items() if counts[name] > 1 and name != whole[path]]
        if not shared:
            break
        names.update((path, whole[path]) for path in shared)  # this may in turn be the name of another
    targets = {path: os.path.join(root, name + ".flac") for path, name in names.items()}
    for target in targets.values():
        if target in whole:
            raise ManifestError(f"{target}: is itself to be converted; choose another folder with --convert-to")
    return targets
