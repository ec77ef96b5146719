"""A piece of work that several machines share: which rows a shard has, where its results lie, and whether all are there.

Shard 3 of 64 of what becomes OUT keeps its results in the folder OUT.shards, in files whose names begin with 03-of-64. Its
record, 03-of-64.json, is written when everything else of it is on the disk:

    {"verb", "command": how to make it, "inputs": a digest of what it was made of, "files": {name: bytes}, "facts": ...}

So a shard without a record is unfinished, and a merge knows which are missing, cut off, or made of something else.
"""

from __future__ import annotations

import json
import shlex
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .errors import ShardError
from .files import write_text

MOST_NAMED = 20  # shards in a message


class Shard(NamedTuple):
    """One of several parts of a piece of work."""

    number: int  # from 1
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def name(self) -> str:
        """Such as 03-of-64: in the order of names, shards are in the order of numbers."""
        return f"{self.number:0{len(str(self.of))}d}-of-{self.of}"


class Record(NamedTuple):
    """What a finished shard says of itself."""

    shard: Shard
    verb: str
    command: list[str]  # words of the command line behind `spin-fairseq`
    inputs: str
    files: dict[str, int]
    facts: dict


def span(work: Sequence[int] | np.ndarray, shard: Shard) -> tuple[int, int]:
    """The rows of a shard: (begin, end). Shards follow each other, and each has about the same work.

    work: (N,) of each row, in any unit, such as samples.
    """
    work = np.asarray(work, np.float64)
    middles = np.cumsum(work) - work / 2
    begin, end = np.searchsorted(middles, work.sum() * np.array([shard.number - 1, shard.number]) / shard.of)
    return int(begin) if shard.number > 1 else 0, int(end) if shard.number < shard.of else len(work)


class ShardedWork(ABC):
    """Work that several machines can share: what a verb with --shard makes of its arguments."""

    @abstractmethod
    def run(self) -> int | None:
        """All of it, on this machine -> exit status: 3 where something was left out, else 0 or None."""

    @abstractmethod
    def inputs(self) -> str:
        """A digest of all that the result depends on: the same for every shard and for the merge."""

    @abstractmethod
    def compute(self, shard: Shard, folder: ShardFolder) -> tuple[list[Path], dict[str, Any]]:
        """Write a shard -> its files, and facts for its record, of which "broken" counts what was left out."""

    @abstractmethod
    def merge(self, folder: ShardFolder, records: Sequence[Record]) -> int | None:
        """Write what `run` would have written -> exit status, as of `run`."""


class ShardFolder:
    """The shards of what becomes `out`, a file or a folder. Attributes: out; path, of the folder OUT.shards."""

    def __init__(self, out: str | Path):
        self.out = Path(out) if Path(out).name else Path(out).absolute()
        self.path = self.out.with_name(f"{self.out.name}.shards")

    def file(self, shard: Shard, suffix: str) -> Path:
        """Where a shard keeps a result: suffix is what follows its name, such as ".km"."""
        return self.path / f"{shard.name}{suffix}"

    def is_finished(self, shard: Shard, inputs: str) -> bool:
        """Whether the shard is there, whole, and was made of these inputs."""
        try:
            record = _read(self._record(shard))
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return record.inputs == inputs and self._whole(record)

    def finish(
        self, shard: Shard, verb: str, command: Sequence[str], inputs: str, files: Iterable[Path], facts: dict
    ) -> None:
        """Write the record of a shard, after its files. Raises ShardError."""
        sizes = {file.name: file.stat().st_size for file in files}
        content = {"verb": verb, "command": list(command), "inputs": inputs, "files": sizes, "facts": facts}
        text = json.dumps({"shard": list(shard), **content}, indent=1)
        write_text(self._record(shard), text + "\n", ShardError)

    def forget(self, shard: Shard) -> None:
        """Remove all that there is of a shard."""
        for file in self.path.glob(f"{shard.name}.*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()

    @contextmanager
    def alone(self, shard: Shard) -> Iterator[None]:
        """Inside the block, no other process of this machine, or of others that share a file system with locks, works on
        the shard. Raises ShardError: one does."""
        try:
            import fcntl
        except ImportError:  # a system without such locks
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / f".{shard.name}.lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ShardError(
                    f"{self.path}: another process works on shard {shard} now; wait for it, or end it"
                ) from None
            except OSError:
                pass  # a file system without locks
            yield

    def records(self) -> list[Record]:
        """The records of all shards, in order. Raises ShardError: some are missing, cut off, or made of other inputs."""
        found = {}
        for path in sorted(self.path.glob("*-of-*.json")):
            if path.name.count(".") > 1:  # a result that is a .json
                continue
            try:
                record = _read(path)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ShardError(
                    f"{path}: is no record of a shard ({error}); remove it, and run the shard again"
                ) from error
            found[record.shard] = record
        if not found:
            raise ShardError(
                f"{self.path}: no finished shard there; run some: add --shard 1/8 to the command of {self.out}"
            )
        counts = sorted({shard.of for shard in found})
        if len(counts) > 1:
            raise ShardError(
                f"{self.path}: there are shards of {' and of '.join(map(str, counts))}, which do not go together; remove the "
                "files of all but one number"
            )
        shards = [Shard(number + 1, counts[0]) for number in range(counts[0])]
        example = next(iter(found.values()))
        self._refuse([shard for shard in shards if shard not in found], example, "missing")
        self._refuse([shard for shard in shards if not self._whole(found[shard])], example, "cut off, or lack a file")
        inputs = [record.inputs for record in found.values()]
        usual = max(set(inputs), key=inputs.count)
        other = [shard for shard in shards if found[shard].inputs != usual]
        self._refuse(other, example, "made of other inputs or with other options than the rest")
        return [found[shard] for shard in shards]

    def files(self, records: Sequence[Record], suffix: str) -> list[Path]:
        """The files with this suffix, of all shards that have one, in order."""
        names = ((f"{record.shard.name}{suffix}", record.files) for record in records)
        return [self.path / name for name, files in names if name in files]

    def remove(self) -> None:
        shutil.rmtree(self.path)

    def _record(self, shard: Shard) -> Path:
        return self.file(shard, ".json")

    def _whole(self, record: Record) -> bool:
        paths = {self.path / name: size for name, size in record.files.items()}
        return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())

    def _refuse(self, shards: Sequence[Shard], record: Record, problem: str) -> None:
        if not shards:
            return
        named = ", ".join(str(shard.number) for shard in shards[:MOST_NAMED])
        more = f" and {len(shards) - MOST_NAMED} more" if len(shards) > MOST_NAMED else ""
        first = shlex.join([record.verb, *without_shard(record.command), "--shard", str(shards[0])])
        raise ShardError(
            f"{self.path}: of {shards[0].of} shards, {len(shards)} are {problem}: {named}{more}; run them, the first by: "
            f"spin-fairseq {first}"
        )


def without_shard(command: Sequence[str]) -> list[str]:
    """Words of a command line without --shard K/N."""
    kept = [word for word in command if not word.startswith("--shard=")]
    if "--shard" in kept:
        place = kept.index("--shard")
        del kept[place : place + 2]
    return kept


def _read(path: Path) -> Record:
    content = json.loads(path.read_text())
    files = {str(name): int(size) for name, size in content["files"].items()}
    shard = Shard(*map(int, content["shard"]))
    if shard.name != path.name.partition(".")[0]:
        raise ValueError(f"it is of shard {shard}")
    return Record(
        shard, str(content["verb"]), list(content["command"]), str(content["inputs"]), files, content["facts"]
    )
