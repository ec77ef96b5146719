"""Measure the pitch marks of a manifest once, so that training does not measure them in every epoch.

    python scripts/cache_pitch_marks.py data/mine/train.tsv data/mine/dev.tsv --speaker-pitch data/mine/pitch.tsv \\
        --out data/mine/marks

writes data/mine/marks/train.marks and dev.marks. Training uses them with

    task.pitch_marks=data/mine/marks task.speaker_pitch=data/mine/pitch.tsv

and measures on the fly what they lack: new or changed files, and speakers with another pitch range.

Run it again after an interruption: it goes on. Run it again after a change of the manifest or the pitch ranges: it
measures what is new. Exit status: 0 when all utterances were measured, 3 when some were left out (they are named), 1
for any other error.
"""

import argparse
import os
import sys
from pathlib import Path

from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.preparation.pitch_marks import measure_pitch_marks
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.errors import SpinError

USAGE = "python scripts/cache_pitch_marks.py data/mine/train.tsv --speaker-pitch data/mine/pitch.tsv --out data/mine/marks"


def main(argv=None):
    parser = argparse.ArgumentParser(usage=USAGE, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST", help="SPLIT.tsv or SPLIT.json")
    parser.add_argument("--out", required=True, help="folder for SPLIT.marks: the later task.pitch_marks")
    parser.add_argument("--speaker-pitch", metavar="TABLE", help="the same as the later task.speaker_pitch; without it "
                        "a range is estimated for each utterance")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one per CPU)")
    args = parser.parse_args(argv)
    broken = 0
    try:
        pitch = load_speaker_pitch(args.speaker_pitch)
        for name in args.manifests:
            manifest = load_manifest(Path(name).parent, Path(name).stem)
            measured = measure_pitch_marks(manifest, pitch, args.out, workers=args.workers)
            print(measured)
            broken += measured.broken
    except (SpinError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again", file=sys.stderr)
        return 130
    return 3 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
