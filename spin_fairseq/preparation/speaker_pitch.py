"""Estimate the pitch range and the voice of each speaker of some manifests, and write the table that `speaker_pitch` reads."""

from __future__ import annotations

import sys
import zlib
from array import array
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..errors import AudioError, PerturbationError, SpeakerPitchError
from ..files import refuse_to_replace, whole_file
from ..fingerprints import digest_of, manifest_fingerprint
from ..perturbation import pitch
from ..perturbation.native import check_installed
from ..perturbation.waves import as_waves
from ..speech.audio import SAMPLE_RATE, read_audio
from ..speech.manifest import Manifest
from .vocal_tract import WARPS, relative_length, scores_of_warps
from ..shards import Record, Shard, ShardedWork, ShardFolder, span
from ..speech.speaker_pitch import load_speaker_pitch
from ..processes import in_processes
from ..progress import ProgressBar

LONGEST = 60 * SAMPLE_RATE  # samples of a file that are analysed
LEFT_OUT = 0.02  # fraction of f0 values that may lie below the floor, and the same above the ceiling
FEWEST_VOICED = 1.0  # s of a speaker, from which the spread and the vocal tract are estimated
HEADER = "speaker\tfloor\tceiling\tmedian\tvoiced_seconds\tfiles\tspread\tvocal_tract\n"


class SpeakerRange(NamedTuple):
    """A row of the table."""

    speaker: str
    floor: float  # Hz
    ceiling: float  # Hz
    median: float  # Hz; NaN where nothing is voiced
    voiced_seconds: float
    files: int
    spread: float  # semitones: half of what lies between the percentiles 16 and 84 of f0; NaN under a second of voiced speech
    vocal_tract: float  # its length, relative to that of other speakers; NaN where it is not known

    def row(self) -> str:
        numbers = f"{self.floor:.1f}\t{self.ceiling:.1f}\t{self.median:.1f}\t{self.voiced_seconds:.1f}\t{self.files}"
        return f"{self.speaker}\t{numbers}\t{self.spread:.2f}\t{self.vocal_tract:.3f}\n"


class _File(NamedTuple):
    speaker: str
    path: str
    samples: int


class _Analysis(NamedTuple):
    """Of a file."""

    f0: np.ndarray  # (N,) float32 Hz, of the voiced frames
    scores: np.ndarray  # (warps,), of `scores_of_warps`
    problem: str = ""  # what is wrong


def estimate_speaker_pitch(
    manifests: list[Manifest], *, files_per_speaker: int, seed: int, workers: int, shard: Shard | None = None
) -> tuple[list[SpeakerRange], int]:
    """-> the ranges of the speakers, sorted by name, and how many files were left out.

    A range is that of `pitch.range_of`, widened where more than 2 % of the f0 values lie below or above it. The f0 values
    come from at most `files_per_speaker` files, chosen by `seed` and the name of the speaker. A file that cannot be read
    is named on stderr and left out; a speaker without voiced speech is named, and gets `pitch.WIDE_RANGE`.

    shard: of the speakers, of whom about as much is analysed in each shard; None: all speakers.
    Raises SpeakerPitchError: a speaker's name cannot stand in a table.
    AudioError: no file could be read, of all speakers.
    """
    files = _chosen_files(manifests, files_per_speaker, seed)
    if shard is not None:
        files = _of_shard(files, shard)
    check_installed()
    ranges, broken = [], 0
    with ProgressBar(total=len(files), desc="pitch", unit="file", dynamic_ncols=True) as bar:
        results = zip((file.speaker for file in files), in_processes(_analyse, files, workers))
        for speaker, group in groupby(results, itemgetter(0)):
            good = []
            for _, analysis in group:
                if analysis.problem:
                    broken += 1
                    bar.write(f"left out: {analysis.problem}", file=sys.stderr)
                else:
                    good.append(analysis)
                bar.update()
            ranges.append(_range_of_speaker(speaker, good))
            if not ranges[-1].voiced_seconds:
                wide = "{:g} to {:g} Hz".format(*pitch.WIDE_RANGE)
                bar.write(f"speaker {speaker}: nothing is voiced in {len(good)} files; {wide}", file=sys.stderr)
    if broken == len(files) and shard is None:
        raise AudioError(f"none of {broken} files could be read, as named above")
    return ranges, broken


def _of_shard(files: list[_File], shard: Shard) -> list[_File]:
    """The files of the speakers of a shard; a speaker's are in one shard, as the range is that of all of them."""
    speakers = [list(group) for _, group in groupby(files, itemgetter(0))]
    begin, end = span([sum(min(file.samples, LONGEST) for file in group) for group in speakers], shard)
    return [file for group in speakers[begin:end] for file in group]


def write_speaker_pitch(path: str | Path, ranges: list[SpeakerRange]) -> None:
    """Write the table, completely or not at all."""
    with whole_file(path, SpeakerPitchError) as temporary:
        temporary.write_text(HEADER + "".join(speaker.row() for speaker in ranges), encoding="utf-8")
        load_speaker_pitch(temporary)


def merge_speaker_pitch(path: str | Path, tables: list[Path]) -> int:
    """Join the tables of the shards, in their order, as `write_speaker_pitch` writes them at once -> speakers."""
    rows = [table.read_text(encoding="utf-8").removeprefix(HEADER) for table in tables]
    with whole_file(path, SpeakerPitchError) as temporary:
        temporary.write_text(HEADER + "".join(rows), encoding="utf-8")
        return len(load_speaker_pitch(temporary))


@dataclass
class SpeakerPitchTable(ShardedWork):
    """The table of pitch ranges of some manifests, in the file `out`.

    files_per_speaker, seed, workers: of `estimate_speaker_pitch`. overwrite: replace the table. say: takes lines for the user.
    """

    manifests: list[Manifest]
    out: str | Path
    files_per_speaker: int
    seed: int
    workers: int
    overwrite: bool
    say: Callable[..., None]

    def run(self) -> int:
        refuse_to_replace([self.out], self.overwrite)
        ranges, broken = self._estimate()
        write_speaker_pitch(self.out, ranges)
        return self._tell(len(ranges), sum(one.files for one in ranges), broken)

    def inputs(self) -> str:
        manifests = [manifest_fingerprint(manifest) for manifest in self.manifests]
        return digest_of([manifests, self.files_per_speaker, self.seed])

    def compute(self, shard: Shard, folder: ShardFolder) -> tuple[list[Path], dict[str, int]]:
        refuse_to_replace([self.out], self.overwrite)
        ranges, broken = self._estimate(shard)
        table = folder.file(shard, ".tsv")
        if ranges:
            write_speaker_pitch(table, ranges)
        return [table] * bool(ranges), {"files": sum(one.files for one in ranges), "broken": broken}

    def merge(self, folder: ShardFolder, records: Sequence[Record]) -> int:
        refuse_to_replace([self.out], self.overwrite)
        files, broken = (sum(record.facts[key] for record in records) for key in ("files", "broken"))
        if not files:
            raise AudioError(f"none of {broken} files could be read, as the shards have said")
        return self._tell(merge_speaker_pitch(self.out, folder.files(records, ".tsv")), files, broken)

    def _estimate(self, shard: Shard | None = None) -> tuple[list[SpeakerRange], int]:
        return estimate_speaker_pitch(
            self.manifests, files_per_speaker=self.files_per_speaker, seed=self.seed, workers=self.workers, shard=shard
        )

    def _tell(self, speakers: int, files: int, broken: int) -> int:
        left_out = f"; {broken:,} files left out, named above" if broken else ""
        self.say(f"{self.out}: pitch ranges of {speakers:,} speakers by {files:,} files{left_out}")
        return 3 if broken else 0


def _chosen_files(manifests: list[Manifest], most: int, seed: int) -> list[_File]:
    """At most `most` files of each speaker, the speakers in order."""
    # One number per row: its index times the number of manifests, plus the number of its manifest
    rows_of: dict[str, array] = {}
    for number, manifest in enumerate(manifests):
        for i in range(len(manifest)):
            speaker = manifest.speaker(i)
            if speaker not in rows_of:
                rows_of[_checked_name(speaker, manifest)] = array("q")
            rows_of[speaker].append(i * len(manifests) + number)
    files = []
    for speaker, rows in sorted(rows_of.items()):
        rng = np.random.default_rng([seed, zlib.crc32(speaker.encode())])
        for row in rng.permutation(len(rows))[:most].tolist():
            i, number = divmod(rows[row], len(manifests))
            files.append(_File(speaker, manifests[number].path(i), int(manifests[number].sizes[i])))
    return files


def _checked_name(speaker: str, manifest: Manifest) -> str:
    if not speaker or speaker != speaker.strip() or not speaker.isprintable():
        raise SpeakerPitchError(
            f"{manifest.source}: speaker {speaker!r} cannot stand in a table of pitch ranges; name it otherwise in the "
            "manifest's third column, or prepare the manifest with --speaker-from folder or none"
        )
    return speaker


def _analyse(file: _File) -> _Analysis:
    nothing = np.zeros(0, np.float32), np.zeros(len(WARPS))
    try:
        wave = read_audio(file.path, frames=min(file.samples, LONGEST), expected=file.samples)
        waves = as_waves(wave)
        f0, frames = pitch.f0_contour(waves.samples, waves.lengths, SAMPLE_RATE)
    except AudioError as error:
        return _Analysis(*nothing, str(error))
    except PerturbationError as error:
        return _Analysis(*nothing, f"{file.path}: {error}")
    f0 = f0[0].numpy()
    return _Analysis(f0[f0 > 0], scores_of_warps(wave, f0, frames.step))


def _range_of_speaker(speaker: str, files: list[_Analysis]) -> SpeakerRange:
    f0 = np.concatenate([np.zeros(0, np.float32), *(file.f0 for file in files)])
    if not len(f0):
        return SpeakerRange(speaker, *pitch.WIDE_RANGE, np.nan, 0.0, len(files), np.nan, np.nan)
    low, high = np.quantile(f0, [LEFT_OUT, 1 - LEFT_OUT])
    floor, ceiling = pitch.range_of(torch.from_numpy(f0)[None])
    floor, ceiling = min(float(floor), low), max(float(ceiling), high)
    seconds, spread, vocal_tract = len(f0) * pitch.TIME_STEP, np.nan, np.nan
    if seconds >= FEWEST_VOICED:
        below, above = np.quantile(f0, [0.16, 0.84])
        spread, vocal_tract = 6 * np.log2(above / below), relative_length(sum(file.scores for file in files))
    return SpeakerRange(speaker, floor, ceiling, float(np.median(f0)), seconds, len(files), spread, vocal_tract)
