"""Join what a verb has made with --shard on several machines. OUT is what it had as --out; its shards are in OUT.shards.
The result is the same, bit for bit, as that of one machine.

All shards must be there, whole, and made of the same inputs with the same options; those that are not are named, with the
command that makes them. When the result is whole, the folder of the shards is removed.

Exit status: 0, 3 when the shards left some files out, 1 for any error.
"""

from __future__ import annotations

from argparse import Namespace

from .parser import Parser

EXAMPLES = ("spin-fairseq merge units.km",)
KEPT = "the shards are kept"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("out", metavar="OUT", help="what the shards had as --out")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the shards")
    parser.add_overwrite("replace OUT")


def run(args: Namespace) -> int | None:
    from .sharding import merge

    return merge(args.out, keep=args.keep, overwrite=args.overwrite, say=args.say)
