"""Measure the pitch marks of manifests once, so that training does not measure them in every epoch. The example writes
data/mine/marks/train.marks and dev.marks, which training uses with

    task.pitch_marks=data/mine/marks task.speaker_pitch=data/mine/pitch.tsv

It measures on the fly what they lack: new or changed files, and speakers with another pitch range.

Run again after an interruption, it resumes; after a change of the manifest or of the pitch ranges, it measures only what
is new. Exit status: 0 when all utterances were measured, 3 when some were left out (they are named), 1
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
    parser.add_argument("--speaker-pitch", metavar="TABLE", help="the same as the later task.speaker_pitch; without it "
                        "a range is estimated for each utterance")  # fmt: skip
    parser.add_workers()
    parser.add_overwrite("measure all anew, also what is there")


def run(args):
    from spin_fairseq.preparation.pitch_marks import measure_pitch_marks
    from spin_fairseq.speech.manifest import load_manifest
    from spin_fairseq.speech.speaker_pitch import load_speaker_pitch

    broken = 0
    pitch = load_speaker_pitch(args.speaker_pitch)
    manifests = [load_manifest(Path(name).parent, Path(name).stem) for name in args.manifests]
    if args.overwrite:
        files = [f"{manifest.source.stem}.marks" for manifest in manifests]
        remove(Path(args.out) / name for file in files for name in (file, f".{file}.parts"))
    for manifest in manifests:
        measured = measure_pitch_marks(manifest, pitch, args.out, workers=args.workers)
        args.say(measured)
        broken += measured.broken
    return 3 if broken else 0
