"""A verb on several machines: one of its shards, or all of them joined.

A verb that has --shard has, besides `run(args)`, `work(args)`, which returns a `shards.ShardedWork`.
"""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Callable
from types import ModuleType

from spin_fairseq.errors import ShardError
from spin_fairseq.threads import settle

from .parser import Parser


def run_shard(verb: str, module: ModuleType, args: Namespace) -> int:
    """Compute args.shard, unless it is there -> exit status: 0, or 3 where something was left out."""
    settle()
    from spin_fairseq.shards import ShardFolder

    work = module.work(args)
    inputs = work.inputs()
    folder, shard = ShardFolder(args.out), args.shard
    with folder.alone(shard):
        if folder.is_finished(shard, inputs):
            args.say(f"{folder.path}: shard {shard} is finished already")
            return 0
        files, facts = work.compute(shard, folder)
        folder.finish(shard, verb, args.words, inputs, files, facts)
    left_out = f"; {facts['broken']:,} left out, named above" if facts.get("broken") else ""
    args.say(f"{folder.path}: shard {shard} is finished{left_out}; when all are: spin-fairseq merge {args.out}")
    return 3 if facts.get("broken") else 0


def merge(out: str, *, keep: bool, overwrite: bool, say: Callable[..., None]) -> int | None:
    """Join the shards of `out` as their verb does -> exit status. Raises ShardError."""
    from spin_fairseq.shards import ShardFolder, without_shard

    from . import VERBS

    folder = ShardFolder(out)
    records = folder.records()
    verb, words = records[0].verb, without_shard(records[0].command)
    if verb not in VERBS:
        raise ShardError(f"{folder.path}: its shards are of {verb!r}, which this release does not know; use theirs")
    module = importlib.import_module(f"{__package__}.{verb}")
    args = Parser(f"spin-fairseq {verb}", module.__doc__, module.EXAMPLES).parse(module.add_arguments, words)
    args.say, args.overwrite = say, args.overwrite or overwrite
    own = ShardFolder(args.out)
    if not own.path.is_dir() or not own.path.samefile(folder.path):
        raise ShardError(
            f"{folder.path}: its shards were made for --out {args.out} of another folder; merge from there"
        )
    work = module.work(args)
    if work.inputs() != records[0].inputs:
        raise ShardError(
            f"{folder.path}: the audio, the manifest or the checkpoint has changed since the shards were made; restore it, or "
            "run the shards again"
        )
    status = work.merge(folder, records)
    if not keep:
        folder.remove()
    return status
