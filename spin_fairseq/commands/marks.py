"""Measure the pitch marks of manifests once, so that training does not measure them in every epoch. The example writes
data/mine/marks/train.marks and dev.marks, which training uses with

    task.pitch_marks=data/mine/marks task.speaker_pitch=data/mine/pitch.tsv

Training measures on the fly what they lack: new or changed files, and speakers with another pitch range.

Give an interrupted command again, and it resumes. After a change of the manifest or of the pitch ranges, it measures only
what is new. Exit status: 0 when all utterances were measured, 3 when some were left out (they are named), 1
for any other error.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from .parser import Parser

if TYPE_CHECKING:
    from spin_fairseq.shards import ShardedWork

EXAMPLES = (
    "spin-fairseq marks data/mine/train.tsv data/mine/dev.tsv --speaker-pitch data/mine/pitch.tsv --out data/mine/marks",
)
KEPT = "the marks measured so far are kept"
AGAIN = "without --overwrite"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST", help="SPLIT.tsv or SPLIT.json")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for SPLIT.marks: the later task.pitch_marks")
    parser.add_argument("--speaker-pitch", metavar="TABLE", help="the table for the later task.speaker_pitch; without "
                        "it a range is estimated for each utterance")  # fmt: skip
    parser.add_workers()
    parser.add_shards()
    parser.add_overwrite("measure everything again, and replace existing marks")


def work(args: Namespace) -> ShardedWork:
    from spin_fairseq.preparation.pitch_marks import PitchMarkFiles
    from spin_fairseq.speech.manifest import manifest_at

    return PitchMarkFiles(
        [manifest_at(name) for name in args.manifests], args.speaker_pitch, args.out, workers=args.workers,
        overwrite=args.overwrite, say=args.say,
    )  # fmt: skip


def run(args: Namespace) -> int | None:
    return work(args).run()
