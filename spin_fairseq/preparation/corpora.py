"""From folders of audio to manifests, by one machine or several: what `spin-fairseq prepare` calls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from collections.abc import Callable, Sequence

from ..files import refuse_to_replace
from ..fingerprints import digest_of
from ..shards import Record, Shard, ShardedWork, ShardFolder
from .alignments import write_phone_labels
from .manifests import (
    Listing,
    check,
    list_folders,
    list_librispeech,
    read_checked,
    write_checked,
    write_folders,
    write_librispeech,
)
from .recordings import Checked


@dataclass
class CorpusPreparation(ShardedWork):
    """Manifests of the files of a listing, each of which is checked, or converted, once.

    write: makes the manifests of what was found in each file -> lines of report. channel: of `manifests.check`.
    say: takes lines for the user.
    """

    listing: Listing
    write: Callable[[dict[str, Checked]], list[str]]
    workers: int
    say: Callable[..., None]
    channel: int | None = None

    def run(self) -> None:
        self.say(*self.write(self._check()))

    def inputs(self) -> str:
        return digest_of([self.listing, self.channel])

    def compute(self, shard: Shard, folder: ShardFolder) -> tuple[list[Path], dict[str, int]]:
        file = folder.file(shard, ".checked.json")
        write_checked(file, self._check(shard))
        return [file], {}

    def merge(self, folder: ShardFolder, records: Sequence[Record]) -> None:
        self.say(*self.write(read_checked(self.listing, folder.files(records, ".checked.json"))))

    def _check(self, shard: Shard | None = None) -> dict[str, Checked]:
        return check(self.listing, jobs=self.workers, channel=self.channel, shard=shard)


def librispeech_preparation(
    root: str | Path, out: str | Path, splits: dict[str, list[str]], *,
    phones: str | Path | None, workers: int, overwrite: bool, say: Callable[..., None],
) -> CorpusPreparation:  # fmt: skip
    """Manifests of a tree that is laid out like LibriSpeech's.

    splits: as for `list_librispeech`. phones: the folder of forced alignments that phone labels are made of, or None.
    Raises ConfigError: a manifest is there already. ManifestError: as `list_librispeech`.
    """
    _refuse(out, splits, overwrite)
    listing = list_librispeech(root, splits)

    def write(checked: dict[str, Checked]) -> list[str]:
        report = write_librispeech(listing, out, checked)
        return report + (write_phone_labels(phones, out, list(splits), jobs=workers) if phones else [])

    return CorpusPreparation(listing, write, workers, say)


def folder_preparation(
    folders: Sequence[str | Path], out: str | Path, *, split: str, speaker_from: str, convert_to: str | Path | None,
    channel: int | None, dev_split: str, dev_fraction: float, dev_by: str, seed: int,
    workers: int, overwrite: bool, say: Callable[..., None],
) -> CorpusPreparation:  # fmt: skip
    """A manifest of any folders of audio, and one of the part of it that becomes `dev_split`; dev_fraction 0: no such part.

    Arguments as for `list_folders` and `write_folders`. Raises ConfigError: a manifest is there already. ManifestError: as
    `list_folders`.
    """
    dev = [dev_split] if dev_fraction else []
    _refuse(out, [split, *dev], overwrite)
    listing = list_folders(
        folders, split, dev_split=dev_split if dev else None, speaker_from=speaker_from, convert_to=convert_to
    )
    write = partial(
        write_folders, listing, out, folders=folders, speaker_from=speaker_from, dev_split=dev_split,
        dev_fraction=dev_fraction, dev_by=dev_by, seed=seed,
    )  # fmt: skip
    return CorpusPreparation(listing, write, workers, say, channel)


def _refuse(out: str | Path, splits: Sequence[str] | dict[str, list[str]], overwrite: bool) -> None:
    refuse_to_replace([Path(out) / f"{split}.tsv" for split in splits], overwrite)
