"""Acoustic pieces of files of units, or of a model's units, which are made first: what `spin-fairseq pieces` calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..errors import ConfigError
from ..files import remove, write_text
from ..fingerprints import content_digest, digest_of, file_fingerprint, manifest_fingerprint
from ..progress import ProgressBar
from ..shards import Record, Shard, ShardedWork, ShardFolder
from ..speech.audio import SAMPLE_RATE
from ..speech.folder import manifest_of
from ..speech.manifest import Manifest
from .acoustic_pieces import write_pieces
from .dumping import dump
from .output_file import batch_samples
from .shards import merge_dumps, rows_of_shard

FRAME_SAMPLES = 320  # 20 ms, where no model tells another
SUFFIXES = (".bin", ".len", ".ids", ".json", ".bin.part", ".len.part", ".ids.part", ".bin.progress")  # of a split


@dataclass
class Units:
    """The units of a Spin, in files of a folder.

    load: gives the model, on `device`, when it is needed; checkpoint: its file; keys: how it was loaded, on which the
    units depend. threads: that decode audio.
    """

    load: Callable[[], torch.nn.Module]
    checkpoint: str | Path
    folder: Path
    codebook: int
    keys: Sequence[str]
    device: str
    threads: int

    def file(self, name: str) -> Path:
        """Where the units of a manifest or folder of audio lie."""
        return self.folder / f"{Path(name).stem}.jsonl"

    def source(self, manifest: Manifest) -> str:
        """A digest of what units are made of."""
        return digest_of([file_fingerprint(self.checkpoint), self.codebook, self.keys, manifest_fingerprint(manifest)])

    def record(self, name: str, manifest: Manifest) -> None:
        """Write beside the units what they are made of."""
        write_text(self.file(name).with_suffix(".source"), self.source(manifest), ConfigError)

    def dump(self, model: torch.nn.Module, manifest: Manifest, file: Path) -> None:
        """Write the units of a manifest."""
        dump(
            model, self.checkpoint, manifest, file, codebook=self.codebook, device=self.device, workers=self.threads,
            max_samples=batch_samples(self.device), progress=f"units of {file.stem}",
        )  # fmt: skip

    def make(self, names: Sequence[str], overwrite: bool) -> tuple[list[Path], int, int]:
        """Write those that are not there -> their files, the number of codes, samples from one frame to the next.

        Raises ConfigError: there are units of another model or manifest.
        """
        model = self.load()
        for name in names:
            manifest, file = manifest_of(name), self.file(name)
            record = file.with_suffix(".source")
            if file.exists() and not overwrite:
                if record.exists() and record.read_text() == self.source(manifest):
                    continue
                raise ConfigError(
                    f"{file}: units of another model or manifest; --overwrite replaces them, or choose another --out"
                )
            self.record(name, manifest)
            self.dump(model, manifest, file)
        frame_samples = round(model.encoder.frame_seconds * SAMPLE_RATE)
        return [self.file(name) for name in names], len(model.head.prototypes[self.codebook]), frame_samples


@dataclass
class PieceFiles(ShardedWork):
    """Acoustic pieces in the folder `out`; several machines can share the units, which take nearly all of the time.

    names: files of units, or with `units` manifests and folders of audio. vocabulary, codes, learn_from, seed,
    frame_samples: of `write_pieces`. overwrite: make all anew. say: takes lines for the user.
    """

    names: Sequence[str]
    out: Path
    units: Units | None
    vocabulary: int
    codes: int | None
    learn_from: int
    seed: int
    frame_samples: int | None
    overwrite: bool
    say: Callable[..., None]

    def run(self) -> None:
        if self.overwrite:
            self._remove()
        self._write(self.overwrite)

    def inputs(self) -> str:
        manifests = [(Path(name).stem, manifest_fingerprint(manifest_of(name))) for name in self.names]
        return digest_of([manifests, content_digest(self.units.checkpoint), self.units.codebook, self.units.keys])

    def compute(self, shard: Shard, folder: ShardFolder) -> tuple[list[Path], dict[str, int]]:
        files, utterances, model = [], 0, self.units.load()
        for name in self.names:
            manifest = manifest_of(name)
            begin, end = rows_of_shard(manifest.sizes, shard)
            if begin < end:
                files.append(folder.file(shard, f".{Path(name).stem}.jsonl"))
                self.units.dump(model, manifest.select(np.arange(begin, end)), files[-1])
                utterances += end - begin
        return files, {"utterances": utterances}

    def merge(self, folder: ShardFolder, records: Sequence[Record]) -> None:
        if self.overwrite:
            self._remove()
        for name in self.names:
            merge_dumps(folder.files(records, f".{Path(name).stem}.jsonl"), self.units.file(name))
            self.units.record(name, manifest_of(name))
        self._write(overwrite_units=False)

    def _write(self, overwrite_units: bool) -> None:
        files, codes, frame_samples = self.names, self.codes, self.frame_samples or FRAME_SAMPLES
        if self.units is not None:
            files, codes, frame_samples = self.units.make(self.names, overwrite_units)
        with ProgressBar(desc="pieces", unit=" utterances", unit_scale=True) as bar:
            found = write_pieces(
                files, self.out, vocabulary=self.vocabulary, codes=codes, sample=self.learn_from, seed=self.seed,
                frame_samples=frame_samples, progress=lambda split, rows: bar.update(rows),
            )  # fmt: skip
        self.say(
            f"{self.out}: {len(found['used']):,} pieces in use, of {found['learnt']:,} that were learnt on "
            f"{Path(self.names[0]).stem} and {self.vocabulary:,} that were asked for; {found['codes']:,} units"
        )

    def _remove(self) -> None:
        """Remove the pieces of an earlier run."""
        if (self.out / "pieces.json").is_file():
            files = (file for file in self.out.glob("*.json") if file.name not in ("pieces.json", "tokenizer.json"))
            remove([self.out / f"{file.stem}{suffix}" for file in files for suffix in SUFFIXES])
            remove([self.out / "tokenizer.json", self.out / "pieces.json"])
