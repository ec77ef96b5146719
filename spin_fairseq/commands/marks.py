"""Measure the pitch marks of manifests once, so that training does not measure them in every epoch. The example writes
data/mine/marks/train.marks and dev.marks, which training uses with

    task.pitch_marks=data/mine/marks task.speaker_pitch=data/mine/pitch.tsv

Training measures on the fly what they lack: new or changed files, and speakers with another pitch range.

Give an interrupted command again, and it resumes. After a change of the manifest or of the pitch ranges, it measures only
what is new. Exit status: 0 when all utterances were measured, 3 when some were left out (they are named), 1
for any other error.
"""

from __future__ import annotations

from pathlib import Path

from .outputs import remove

EXAMPLES = (
    "spin-fairseq marks data/mine/train.tsv data/mine/dev.tsv --speaker-pitch data/mine/pitch.tsv --out data/mine/marks",
)
KEPT = "the marks measured so far are kept"
AGAIN = "without --overwrite"


def add_arguments(parser):
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST", help="SPLIT.tsv or SPLIT.json")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for SPLIT.marks: the later task.pitch_marks")
    parser.add_argument("--speaker-pitch", metavar="TABLE", help="the table for the later task.speaker_pitch; without "
                        "it a range is estimated for each utterance")  # fmt: skip
    parser.add_workers()
    parser.add_shards()
    parser.add_overwrite("measure everything again, and replace existing marks")


def run(args):
    from spin_fairseq.preparation.pitch_marks import marks_path, measure_pitch_marks

    broken = 0
    pitch, manifests = _read(args)
    if args.overwrite:
        paths = [marks_path(manifest, args.out) for manifest in manifests]
        remove(file for path in paths for file in (path, path.with_name(f".{path.name}.parts")))
    for manifest in manifests:
        measured = measure_pitch_marks(manifest, pitch, args.out, workers=args.workers)
        args.say(measured)
        broken += measured.broken
    return 3 if broken else 0


def _read(args):
    from spin_fairseq.speech.manifest import load_manifest
    from spin_fairseq.speech.speaker_pitch import load_speaker_pitch

    pitch = load_speaker_pitch(args.speaker_pitch)
    return pitch, [load_manifest(Path(name).parent, Path(name).stem) for name in args.manifests]


# --- several machines: see `sharding` -----------------------------------------------------------------------------


def shard_inputs(args):
    from spin_fairseq.fingerprints import content_digest, digest_of, manifest_fingerprint

    _, manifests = _read(args)
    table = content_digest(args.speaker_pitch) if args.speaker_pitch else None
    return digest_of([[(manifest.source.stem, manifest_fingerprint(manifest)) for manifest in manifests], table])


def compute_shard(args, shard, folder):
    import numpy as np

    from spin_fairseq.preparation.pitch_marks import measure_pitch_marks
    from spin_fairseq.shards import span

    if args.overwrite:
        folder.forget(shard)
    pitch, manifests = _read(args)
    files, facts = [], {"utterances": 0, "broken": 0}
    for manifest in manifests:
        begin, end = span(manifest.sizes, shard)
        path = folder.file(shard, f".{manifest.source.stem}.marks")
        if begin < end:
            part = manifest.select(np.arange(begin, end))
            measured = measure_pitch_marks(part, pitch, args.out, workers=args.workers, path=path)
            facts["utterances"] += measured.utterances
            facts["broken"] += measured.broken
            files += [path] * bool(measured.utterances)
    return files, facts


def merge_shards(args, folder, records):
    from spin_fairseq.errors import PitchMarkError
    from spin_fairseq.preparation.pitch_marks import marks_path, merge_pitch_marks

    broken = sum(record.facts["broken"] for record in records)
    left_out = f"; {broken:,} left out, named by their shards" if broken else ""
    for manifest in _read(args)[1]:
        files, path = folder.files(records, f".{manifest.source.stem}.marks"), marks_path(manifest, args.out)
        if not files:
            raise PitchMarkError(
                f"{manifest.source}: none of its utterances could be measured, as its shards have said"
            )
        args.say(
            f"{path}: pitch marks of {merge_pitch_marks(path, files):,} utterances, of {len(records)} shards{left_out}"
        )
    return 3 if broken else 0
