"""Make manifests of LibriSpeech.

    python scripts/prepare_librispeech.py /corpora/LibriSpeech --out data/librispeech

writes train.tsv (train-clean-100), dev.tsv (dev-clean and dev-other) and a copy of SPEAKERS.TXT. Every file is
decoded once; broken ones are named, listed in {split}.broken.txt, and left out. With forced alignments of the
Montreal Forced Aligner (one .TextGrid per utterance, anywhere below a folder) it also writes phone labels:

    python scripts/prepare_librispeech.py /corpora/LibriSpeech --out data/librispeech --phones /corpora/alignments

into data/librispeech/phones (utterances of dev.tsv that could not be aligned leave it). Other subsets, and any tree of the same shape:

    python scripts/prepare_librispeech.py /corpora/LibriSpeech --out data/ls960 \\
        --train train-clean-100 train-clean-360 train-other-500 --dev dev-clean dev-other --split test test-clean
"""

import argparse
import os
import sys

from spin_fairseq.preparation.alignments import write_phone_labels
from spin_fairseq.preparation.manifests import prepare_librispeech
from spin_fairseq.errors import SpinError

USAGE = "python scripts/prepare_librispeech.py /corpora/LibriSpeech --out data/librispeech"


def main(argv=None):
    parser = argparse.ArgumentParser(usage=USAGE, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder with the subsets in it")
    parser.add_argument("--out", required=True, help="folder for the manifests: the later task.data")
    parser.add_argument("--train", nargs="+", default=["train-clean-100"], metavar="SUBSET", help="subsets of train.tsv")
    parser.add_argument("--dev", nargs="+", default=["dev-clean", "dev-other"], metavar="SUBSET", help="of dev.tsv")
    parser.add_argument("--split", nargs="+", action="append", default=[], metavar=("NAME", "SUBSET"), help="one more")
    parser.add_argument("--phones", metavar="FOLDER", help="folder of .TextGrid alignments, to make phone labels of")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one per CPU)")
    args = parser.parse_args(argv)
    splits = {"train": args.train, "dev": args.dev}
    for name, *subsets in args.split:
        splits[name] = subsets or [name]
    try:
        for line in prepare_librispeech(args.root, args.out, splits, jobs=args.jobs):
            print(line)
        if args.phones:
            for line in write_phone_labels(args.phones, args.out, list(splits), jobs=args.jobs):
                print(line)
    except (SpinError, OSError) as error:  # of the system: a file is in the way, the disk is full
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
