"""Learn acoustic pieces (R-Spin) from units, and write the piece of each frame, for task.pieces: byte-pair encoding of units
without repeats. Pieces are learnt on the first file; the others, such as that of dev, are only written. The files are .km or
.jsonl of spin-fairseq units, without --deduplicate; or, with --model, manifests whose units are made first.

--out gets tokenizer.json (as the tokenizers library reads it), pieces.json, and of each split SPLIT.bin (the piece of each
frame), .len (frames of each utterance), .ids and .json. An interrupted command resumes when it is given again. Shards, with
--model, make the units, which takes nearly all of the time; the merge learns and writes the pieces. Needs tokenizers:
pip install "spin_fairseq[pieces]".
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from spin_fairseq.threads import settle

from .models import loader
from .parser import Parser, UsageError
from .values import at_least

if TYPE_CHECKING:
    from spin_fairseq.shards import ShardedWork

EXAMPLES = (
    "spin-fairseq pieces train.jsonl dev.jsonl --out pieces",
    "spin-fairseq pieces data/mine/train.tsv data/mine/dev.tsv --model spin_2048.pt --vocabulary 40000 --out pieces",
)
KEPT = "the units and rows finished so far are kept"
AGAIN = "without --overwrite"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("files", nargs="+", metavar="UNITS", help="files of units, or with --model manifests")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for the pieces: the later task.pieces")
    parser.add_argument(
        "--vocabulary", type=at_least(2), default=40_000, metavar="N", help="pieces at most (default 40000)"
    )
    parser.add_argument("--model", metavar="CHECKPOINT", help="a Spin whose units are made first, in OUT/units")
    parser.add_argument("--codebook", type=int, default=0, metavar="I", help="of --model (default 0)")
    parser.add_argument("--codes", type=at_least(1), metavar="K", help="units of the codebook (default: --model's, or up to "
                        "the largest)")  # fmt: skip
    parser.add_argument("--learn-from", type=at_least(1), default=100_000, metavar="N", help="utterances to learn on at most, "
                        "drawn by the seed (default 100000: 3 GB of memory)")  # fmt: skip
    parser.add_argument("--frame-samples", type=at_least(1), metavar="N", help="samples from one frame of units to the next "
                        "(default: --model's, or 320, which are 20 ms)")  # fmt: skip
    parser.add_seed("the draw of --learn-from")
    parser.add_encoder()
    parser.add_overwrite("learn and write anew")
    parser.add_device()
    parser.add_threads()
    parser.add_shards()


def work(args: Namespace) -> ShardedWork:
    splits = [Path(name).stem for name in args.files]
    if len(set(splits)) < len(splits):
        raise UsageError("two of the files have the same name, which their pieces would share")
    if (args.shard or args.launcher) and not args.model:
        raise UsageError("shards are for --model: of files of units, pieces are learnt and written by one machine")
    if args.model:
        settle()
    from spin_fairseq.extraction.piece_files import PieceFiles, Units

    out, units = Path(args.out), None
    if args.model:
        units = Units(
            loader(args, args.model), args.model, out / "units", args.codebook, args.encoder, args.device, args.threads
        )
    return PieceFiles(
        args.files, out, units, vocabulary=args.vocabulary, codes=args.codes, learn_from=args.learn_from, seed=args.seed,
        frame_samples=args.frame_samples, overwrite=args.overwrite, say=args.say,
    )  # fmt: skip


def run(args: Namespace) -> int | None:
    return work(args).run()
