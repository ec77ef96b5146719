"""Make a manifest of any folder of audio.

    python scripts/prepare_manifest.py /audio/mine --out data/mine --split train

takes the 16 kHz mono files below /audio/mine and names those that it leaves out. Files of any other kind that
soundfile or sox reads are converted to 16 kHz mono FLAC on request; 2 % of them become a dev split, and the
folder that a file lies in names its speaker:

    python scripts/prepare_manifest.py /audio/mine /audio/more --out data/mine --split train \\
        --convert-to /audio/mine_16k --valid-percent 2 --speaker-from folder

Run it again after an interruption: finished conversions are kept.
"""

import argparse
import os
import sys

from spin_fairseq.preparation.manifests import SPEAKER_RULES, prepare_folders
from spin_fairseq.errors import SpinError

USAGE = "python scripts/prepare_manifest.py /audio/mine --out data/mine --split train --convert-to /audio/mine_16k"


def percentage(text):
    value = float(text)
    if not 0 <= value < 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 100")
    return value


def main(argv=None):
    parser = argparse.ArgumentParser(usage=USAGE, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="searched with all that is below")
    parser.add_argument("--out", required=True, help="folder for the manifests: the later task.data")
    parser.add_argument("--split", default="train", help="name of the manifest (default: train)")
    parser.add_argument("--convert-to", metavar="FOLDER", help="where to put 16 kHz mono FLAC copies of all files")
    parser.add_argument("--speaker-from", choices=SPEAKER_RULES, default="stem",
                        help="stem: what stands before the first - of a file's name (default); folder: the folder "
                        "that it lies in; none: not known, one speaker for all")
    parser.add_argument("--valid-percent", type=percentage, default=0.0, metavar="P", help="share of a second split")
    parser.add_argument("--valid-split", default="dev", help="name of the second split (default: dev)")
    parser.add_argument("--seed", type=int, default=0, help="of the random choice for the second split")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one per CPU)")
    args = parser.parse_args(argv)
    try:
        report = prepare_folders(
            args.folders,
            args.out,
            split=args.split,
            jobs=args.jobs,
            speaker_from=args.speaker_from,
            convert_to=args.convert_to,
            valid_split=args.valid_split,
            valid_percent=args.valid_percent,
            seed=args.seed,
        )
    except (SpinError, OSError) as error:  # of the system: a file is in the way, the disk is full
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again", file=sys.stderr)
        return 130
    print("\n".join(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
