"""Estimate the pitch range of every speaker of one or more manifests: analyse 20 files of each speaker, chosen at
random, and write a table

    speaker<TAB>floor<TAB>ceiling<TAB>median<TAB>voiced_seconds<TAB>files<TAB>spread<TAB>vocal_tract

in Hz, for task.speaker_pitch=data/mine/pitch.tsv and `spin-fairseq marks`. The floor is 0.72 times the 35th percentile
of f0 and the ceiling 1.9 times the 65th (De Looze and Rauzy 2009); both are moved outwards where more than 2 % of f0 lie
beyond them, and stay within 60 to 600 Hz. A speaker without voiced speech is named, and gets all of that range.

The spread of f0 (semitones, half of what lies between the percentiles 16 and 84) and the length of the vocal tract, relative to that
of other speakers, are for task.voice_draw=corpus; nan where less than a second is voiced.

Exit status: 0 when all files could be read, 3 when some were left out (they are named), 1 for any other error.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from .parser import Parser
from .values import at_least

if TYPE_CHECKING:
    from spin_fairseq.shards import ShardedWork

EXAMPLES = ("spin-fairseq pitch data/mine/train.tsv data/mine/dev.tsv --out data/mine/pitch.tsv",)
KEPT = "nothing was written"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST", help="SPLIT.tsv or SPLIT.json; training needs the "
                        "speakers of all its splits in one table")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="TABLE", help="the later task.speaker_pitch, a .tsv")
    parser.add_argument(
        "--files-per-speaker", type=at_least(1), default=20, metavar="N", help="most files analysed (default 20)"
    )
    parser.add_seed("the choice of files")
    parser.add_workers()
    parser.add_shards()
    parser.add_overwrite("replace the table")


def work(args: Namespace) -> ShardedWork:
    from spin_fairseq.preparation.speaker_pitch import SpeakerPitchTable
    from spin_fairseq.speech.manifest import manifest_at

    return SpeakerPitchTable(
        [manifest_at(name) for name in args.manifests], args.out, files_per_speaker=args.files_per_speaker, seed=args.seed,
        workers=args.workers, overwrite=args.overwrite, say=args.say,
    )  # fmt: skip


def run(args: Namespace) -> int | None:
    return work(args).run()
