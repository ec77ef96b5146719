"""Estimate the pitch range of every speaker of one or more manifests: analyse 20 files of each speaker, chosen at
random, and write a table

    speaker<TAB>floor<TAB>ceiling<TAB>median<TAB>voiced_seconds<TAB>files

in Hz, for task.speaker_pitch=data/mine/pitch.tsv and `spin-fairseq marks`. The floor is 0.72 times the 35th percentile
of f0 and the ceiling 1.9 times the 65th (De Looze and Rauzy 2009); both are moved outwards where more than 2 % of f0 lie
beyond them, and stay within 60 to 600 Hz. A speaker without voiced speech is named, and gets all of that range.

Exit status: 0 when all files could be read, 3 when some were left out (they are named), 1 for any other error.
"""

from __future__ import annotations

from pathlib import Path

from .outputs import refuse_to_replace
from .values import at_least

EXAMPLES = ("spin-fairseq pitch data/mine/train.tsv data/mine/dev.tsv --out data/mine/pitch.tsv",)
KEPT = "nothing was written"


def add_arguments(parser):
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


def run(args):
    from spin_fairseq.preparation.speaker_pitch import write_speaker_pitch

    refuse_to_replace([args.out], args.overwrite)
    ranges, broken = _estimate(args)
    write_speaker_pitch(args.out, ranges)
    _tell(args, len(ranges), sum(one.files for one in ranges), broken)
    return 3 if broken else 0


def _manifests(args):
    from spin_fairseq.speech.manifest import load_manifest

    return [load_manifest(Path(name).parent, Path(name).stem) for name in args.manifests]


def _estimate(args, shard=None):
    from spin_fairseq.preparation.speaker_pitch import estimate_speaker_pitch

    return estimate_speaker_pitch(
        _manifests(args), files_per_speaker=args.files_per_speaker, seed=args.seed, workers=args.workers, shard=shard
    )


def _tell(args, speakers, files, broken):
    left_out = f"; {broken:,} files left out, named above" if broken else ""
    args.say(f"{args.out}: pitch ranges of {speakers:,} speakers by {files:,} files{left_out}")


# --- several machines: see `sharding` -----------------------------------------------------------------------------


def shard_inputs(args):
    from spin_fairseq.fingerprints import digest_of, manifest_fingerprint

    return digest_of(
        [[manifest_fingerprint(manifest) for manifest in _manifests(args)], args.files_per_speaker, args.seed]
    )


def compute_shard(args, shard, folder):
    from spin_fairseq.preparation.speaker_pitch import write_speaker_pitch

    refuse_to_replace([args.out], args.overwrite)
    ranges, broken = _estimate(args, shard)
    table = folder.file(shard, ".tsv")
    if ranges:
        write_speaker_pitch(table, ranges)
    return [table] * bool(ranges), {"files": sum(one.files for one in ranges), "broken": broken}


def merge_shards(args, folder, records):
    from spin_fairseq.errors import AudioError
    from spin_fairseq.preparation.speaker_pitch import merge_speaker_pitch

    refuse_to_replace([args.out], args.overwrite)
    files, broken = (sum(record.facts[key] for record in records) for key in ("files", "broken"))
    if not files:
        raise AudioError(f"none of {broken} files could be read, as the shards have said")
    _tell(args, merge_speaker_pitch(args.out, folder.files(records, ".tsv")), files, broken)
    return 3 if broken else 0
