"""Measure the pitch marks of a manifest once, in many processes, and write them as `pitch_mark_cache` reads them.

The utterances that the file lacks are divided into chunks. A worker measures a chunk and writes it as a small file of the
same form into a hidden folder beside the result; chunks of an earlier, interrupted run are kept. At the end the new file
is merged from the old one and all chunks.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..errors import AudioError, PerturbationError, PitchMarkError
from ..files import remove
from ..fingerprints import content_digest, digest_of, manifest_fingerprint
from ..perturbation.native import check_installed
from ..perturbation.pitch_marks import PitchMarks, find_pitch_marks
from ..speech.audio import SAMPLE_RATE, read_audio
from ..speech.manifest import Manifest
from ..speech.pitch_mark_cache import ENTRY, KEY, PitchMarkCache, Subject, encode, entry_of, subject_of, write_marks
from ..speech.speaker_pitch import SpeakerPitch, load_speaker_pitch
from ..shards import Record, Shard, ShardedWork, ShardFolder, span
from ..processes import in_processes
from ..progress import ProgressBar

# Few enough that an interruption loses little, enough that a million utterances do not make a million files.
CHUNKS, LARGEST_CHUNK = 64, 500


class Chunk(NamedTuple):
    """Some utterances of a manifest, and the file that their marks go to."""

    path: Path
    subjects: list[Subject]


class Measured(NamedTuple):
    """What was written, and what was not."""

    path: Path
    utterances: int
    samples: int
    bytes: int
    kept: int  # utterances whose marks existed already
    broken: int

    def __str__(self) -> str:
        seconds = self.samples / SAMPLE_RATE
        size = f"{seconds / 3600:.2f} h, {self.bytes / 1e6:.1f} MB, {self.bytes / seconds:.0f} bytes a second"
        kept = f"; {self.kept:,} of them were there already" if self.kept else ""
        broken = f"; {self.broken:,} left out, named above" if self.broken else ""
        return f"{self.path}: pitch marks of {self.utterances:,} utterances, {size}{kept}{broken}"


def marks_path(manifest: Manifest, out: str | Path) -> Path:
    """Where the marks of a manifest lie in the folder `out`."""
    return Path(out) / f"{manifest.source.stem}.marks"


def measure_pitch_marks(
    manifest: Manifest, pitch: SpeakerPitch, out: str | Path, *, workers: int, path: Path | None = None
) -> Measured:
    """Write the marks of a manifest. An utterance that cannot be read is named on stderr and left out.

    Called again after an interruption, it resumes; called again for a changed manifest, it measures what is new or changed.

    out: the folder for `{split}.marks`.
    path: another file to write, for a part of the manifest; there is none where none of its utterances can be read.
    Raises SpeakerPitchError: the table of pitch ranges lacks a speaker.
    PitchMarkError: no utterance of the manifest could be measured.
    """
    is_part, path = path is not None, path or marks_path(manifest, out)
    chunks_folder = path.with_name(f".{path.name}.parts")
    old, rows = _rows_of_old_marks(path, manifest, pitch)
    todo, rows = np.flatnonzero(rows < 0), rows[rows >= 0]
    chunks_folder.mkdir(parents=True, exist_ok=True)

    size = max(1, min(LARGEST_CHUNK, -(-len(todo) // CHUNKS)))
    starts = range(0, len(todo), size)
    files = [chunks_folder / f"{start // size:06d}.marks" for start in starts]
    chunks = (
        Chunk(file, [_subject(manifest, i, pitch) for i in todo[start : start + size]])
        for file, start in zip(files, starts)
    )
    kept, broken = len(rows), 0
    check_installed()  # compiled once here, for all workers
    with ProgressBar(total=len(manifest), initial=kept, desc=path.name, unit="utterance", dynamic_ncols=True) as bar:
        for done, reused, problems in in_processes(measure_chunk, chunks, workers):
            for problem in problems:
                bar.write(f"left out: {problem}", file=sys.stderr)
            kept, broken = kept + reused, broken + len(problems)
            bar.update(done)
    if broken < len(manifest) and (files or len(old) > len(rows)):
        _merge(path, files, old, rows)
    shutil.rmtree(chunks_folder)
    if broken == len(manifest) and is_part:
        path.unlink(missing_ok=True)
        return Measured(path, 0, 0, 0, 0, broken)
    if broken == len(manifest):
        raise PitchMarkError(f"{manifest.source}: none of its {broken} utterances could be measured, as named above")
    written = PitchMarkCache(path)
    samples = int(written.entries["samples"].sum())
    return Measured(path, len(written), samples, path.stat().st_size, kept, broken)


def merge_pitch_marks(path: str | Path, files: list[Path]) -> int:
    """Join the marks of the shards of a manifest, in their order, as `measure_pitch_marks` writes them at once.

    -> the number of utterances. Raises PitchMarkError: a file is damaged, or `path` cannot be written.
    """
    _merge(Path(path), files, None, np.zeros(0, np.int64))
    return len(PitchMarkCache(path))


@dataclass
class PitchMarkFiles(ShardedWork):
    """The marks of some manifests, in the folder `out`.

    table: of pitch ranges, for `load_speaker_pitch`. overwrite: measure everything again. say: takes lines for the user.
    """

    manifests: list[Manifest]
    table: str | None
    out: str | Path
    workers: int
    overwrite: bool
    say: Callable[..., None]

    def __post_init__(self) -> None:
        self.pitch = load_speaker_pitch(self.table)

    def run(self) -> int:
        if self.overwrite:
            paths = [marks_path(manifest, self.out) for manifest in self.manifests]
            remove(file for path in paths for file in (path, path.with_name(f".{path.name}.parts")))
        broken = 0
        for manifest in self.manifests:
            measured = measure_pitch_marks(manifest, self.pitch, self.out, workers=self.workers)
            self.say(measured)
            broken += measured.broken
        return 3 if broken else 0

    def inputs(self) -> str:
        manifests = [(manifest.source.stem, manifest_fingerprint(manifest)) for manifest in self.manifests]
        return digest_of([manifests, content_digest(self.table) if self.table else None])

    def compute(self, shard: Shard, folder: ShardFolder) -> tuple[list[Path], dict[str, int]]:
        if self.overwrite:
            folder.forget(shard)
        files, facts = [], {"utterances": 0, "broken": 0}
        for manifest in self.manifests:
            begin, end = span(manifest.sizes, shard)
            path = folder.file(shard, f".{manifest.source.stem}.marks")
            if begin < end:
                part = manifest.select(np.arange(begin, end))
                measured = measure_pitch_marks(part, self.pitch, self.out, workers=self.workers, path=path)
                facts["utterances"] += measured.utterances
                facts["broken"] += measured.broken
                files += [path] * bool(measured.utterances)
        return files, facts

    def merge(self, folder: ShardFolder, records: Sequence[Record]) -> int:
        broken = sum(record.facts["broken"] for record in records)
        left_out = f"; {broken:,} left out, named by their shards" if broken else ""
        for manifest in self.manifests:
            path = marks_path(manifest, self.out)
            files = folder.files(records, f".{manifest.source.stem}.marks")
            if not files:
                raise PitchMarkError(
                    f"{manifest.source}: none of its utterances could be measured, as its shards have said"
                )
            utterances = merge_pitch_marks(path, files)
            self.say(f"{path}: pitch marks of {utterances:,} utterances, of {len(records)} shards{left_out}")
        return 3 if broken else 0


def measure_chunk(chunk: Chunk) -> tuple[int, int, list[str]]:
    """Write the marks of a chunk -> how many utterances, how many of them existed already, and why others were left out."""
    old = _opened(chunk.path)
    keys, entries, words, problems = [], [], [], []
    start = reused = 0
    for subject in chunk.subjects:
        own = None if old is None else _words(old, subject)
        reused += own is not None
        try:
            if own is None:
                own = encode(_measure(subject))
            entries.append(entry_of(subject, own, start))
        except AudioError as error:
            problems.append(str(error))
            continue
        except (PerturbationError, OSError) as error:
            problems.append(f"{subject.path}: {error}")
            continue
        keys.append(subject.key)
        words.append(own)
        start += len(own)
    write_marks(chunk.path, np.array(keys, KEY), np.array(entries, ENTRY), words)
    return len(chunk.subjects), reused, problems


def _measure(subject: Subject) -> PitchMarks:
    wave = read_audio(subject.path, expected=subject.samples)
    floor, ceiling = subject.pitch_range or (None, None)
    return find_pitch_marks(wave, SAMPLE_RATE, pitch_floor=floor, pitch_ceiling=ceiling)


def _subject(manifest: Manifest, index: int, pitch: SpeakerPitch) -> Subject:
    return subject_of(manifest, index, pitch.range(manifest.speaker(index)))


def _opened(path: Path) -> PitchMarkCache | None:
    try:
        return PitchMarkCache(path)
    except PitchMarkError:  # missing or damaged: measured again
        return None


def _words(cache: PitchMarkCache, subject: Subject) -> np.ndarray | None:
    try:
        return cache.words_of(subject)[1]
    except PitchMarkError:
        return None


def _rows_of_old_marks(path: Path, manifest: Manifest, pitch: SpeakerPitch) -> tuple[PitchMarkCache | None, np.ndarray]:
    """-> the old marks at `path`, and for each utterance the row of its entry in them (N,), -1 for none."""
    old = _opened(path)
    rows = np.full(len(manifest), -1)
    for i in range(len(manifest)):
        # For every utterance: a missing speaker must fail before the work begins
        subject = _subject(manifest, i, pitch)
        if old is not None and _words(old, subject) is not None:
            rows[i] = old.find(subject)[1]
    return old, rows


def _merge(path: Path, files: list[Path], old: PitchMarkCache | None, rows: np.ndarray) -> None:
    """Write the chunks and the chosen rows of the old marks as one file; one chunk is open at a time."""
    keys, entries, start = [], [], 0
    for file in files:
        chunk = PitchMarkCache(file)
        own = chunk.entries.copy()
        own["start"] += start
        keys.append(chunk.keys.copy())
        entries.append(own)
        start += len(chunk.words)
    if len(rows):
        own = old.entries[rows]
        own["start"] = start + np.cumsum(own["words"], dtype=np.int64) - own["words"]
        keys.append(old.keys[rows])
        entries.append(own)

    def words() -> Iterator[np.ndarray]:
        for file in files:
            yield PitchMarkCache(file).words
        for start, count in old.entries[rows][["start", "words"]].tolist() if len(rows) else ():
            yield old.words[start : start + count]

    write_marks(path, np.concatenate(keys), np.concatenate(entries), words())
