"""The output of a model for a manifest, in a file, by one machine or several: what `spin-fairseq units` calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..files import refuse_to_replace
from ..fingerprints import content_digest, digest_of, manifest_fingerprint
from ..shards import Record, Shard, ShardedWork, ShardFolder
from ..speech.audio import SAMPLE_RATE
from ..speech.manifest import Manifest
from .dumping import dump, format_of
from .shards import merge_dumps, rows_of_shard


def batch_samples(device: str, seconds: float | None = None) -> int:
    """Samples of a batch: of `seconds`, or of a default; on a CPU each thread computes a batch of its own."""
    return int((seconds or (12.0 if device == "cpu" else 30.0)) * SAMPLE_RATE)


@dataclass
class OutputFile(ShardedWork):
    """What `dump` writes of a manifest.

    load: gives the model, on its device, when it is needed; checkpoint: its file. keys, dtype: how it was loaded, on
    which the result depends. options: further ones of `dump`. overwrite: replace the file. say: takes lines for the user.
    """

    load: Callable[[], torch.nn.Module]
    checkpoint: str | Path
    manifest: Manifest
    out: str | Path
    keys: Sequence[str]
    dtype: str
    overwrite: bool
    say: Callable[..., None]
    output: str = "units"
    layer: int | None = None
    codebook: int = 0
    format: str | None = None
    deduplicate: bool = False
    attention_seconds: float | None = None
    options: dict[str, Any] | None = None

    def run(self) -> None:
        refuse_to_replace([self.out], self.overwrite)
        self._dump(self.manifest, self.out)
        self.say(f"{self.out}: {self.output} of {len(self.manifest):,} utterances")

    def inputs(self) -> str:
        data = [manifest_fingerprint(self.manifest), content_digest(self.checkpoint), self.keys]
        how = [
            self.output,
            self.layer,
            self.codebook,
            self._format,
            self.deduplicate,
            self.attention_seconds,
            self.dtype,
        ]
        return digest_of([data, how])

    def compute(self, shard: Shard, folder: ShardFolder) -> tuple[list[Path], dict[str, int]]:
        refuse_to_replace([self.out], self.overwrite)
        begin, end = rows_of_shard(self.manifest.sizes, shard)
        if begin == end:
            return [], {"utterances": 0}
        out = folder.file(shard, f".{self._format}")
        self._dump(self.manifest.select(np.arange(begin, end)), out)
        beside = (out.with_suffix(suffix) for suffix in (".len", ".ids"))
        return [out, *(file for file in beside if file.exists())], {"utterances": end - begin}

    def merge(self, folder: ShardFolder, records: Sequence[Record]) -> None:
        refuse_to_replace([self.out], self.overwrite)
        merge_dumps(folder.files(records, f".{self._format}"), self.out)
        utterances = sum(record.facts["utterances"] for record in records)
        self.say(f"{self.out}: {self.output} of {utterances:,} utterances, of {len(records)} shards")

    @property
    def _format(self) -> str:
        return self.format or format_of(self.out, self.output)

    def _dump(self, manifest: Manifest, out: str | Path) -> None:
        dump(
            self.load(), self.checkpoint, manifest, out, output=self.output, layer=self.layer, codebook=self.codebook,
            format=self._format, deduplicate=self.deduplicate, attention_seconds=self.attention_seconds,
            progress=self.output, **self.options or {},
        )  # fmt: skip
