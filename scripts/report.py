#!/usr/bin/env python3
"""One HTML page of trainings and evaluations, that needs no other file and no network.

    python scripts/report.py outputs/demo outputs/demo/evaluation --out report.html

A RUN is a folder of fairseq-hydra-train (with tensorboard/ and .hydra/), RESULTS what `scripts/evaluate.py --out` wrote;
a folder may be both, and several are laid over each other. The page has, where there is something to show:

    comparison    every figure of every model, bars with intervals, tables, paired tests
    units         P(phone | unit) as a heat map, the use of the codebook
    layers        figures of k-means on each layer of an encoder
    utterances    waveform, spectrogram, phone labels and every model's units in time; the original and another voice to hear
    training      loss, accuracy, perplexities, learning rate, PNMI over updates
    what was run  commands, configurations, data, versions

Needs the extra [report].
"""

import argparse
import shlex
import sys
from pathlib import Path

from spin_fairseq.errors import ConfigError, SpinError
from spin_fairseq.report.page import VOICE, write_report


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/report.py RUN_OR_RESULTS... --out report.html [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="+", metavar="RUN_OR_RESULTS", help="folders of trainings and evaluations")
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="file (default %(default)s)")
    parser.add_argument("--title", default="Speech units", help="of the page (default %(default)s)")
    parser.add_argument("--utterances", type=int, default=6, help="to hear and see, each of another speaker (default 6; 0: none)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each utterance at most (default 8)")
    parser.add_argument("--seed", type=int, default=VOICE, help="of the other voice, the same for all utterances (default %(default)s)")
    args = parser.parse_args(argv)
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        if args.utterances < 0 or not 0.5 <= args.seconds <= 60 or args.seed < 0:
            raise ConfigError("--utterances and --seed must be 0 or more, --seconds 0.5 to 60")
        page = write_report(
            args.sources, args.out, title=args.title, command=shlex.join(["python", "scripts/report.py", *words]),
            utterances=args.utterances, seconds=args.seconds, seed=args.seed,
        )  # fmt: skip
    except (SpinError, OSError) as error:  # of the system: the disk is full, a folder is not to be read or written
        sys.exit(f"error: {error}")
    shown = f"{len(page['models'])} models, {len(page['runs'])} trainings, {len(page['utterances'])} utterances"
    print(f"{args.out}: {shown}, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
