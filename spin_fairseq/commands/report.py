"""Write one HTML page about trainings and evaluations. It needs no other file and no network.

A RUN is the folder of a training (with tensorboard/ and .hydra/), RESULTS the --out folder of `spin-fairseq evaluate`; a
folder may be both. Several runs share one set of charts. The page shows, where there is data for it:

    comparison    every metric of every model, bars with intervals, tables, paired tests
    units         P(phone | unit) as a heat map, the use of the codebook
    layers        metrics of k-means on each layer of an encoder
    utterances    waveform, spectrogram, phone labels and every model's units over time; audio of the original and another voice
    training      loss, accuracy, perplexities, learning rate and PNMI over updates
    what was run  commands, configurations, data, versions
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from spin_fairseq.files import refuse_to_replace

from .parser import Parser, UsageError
from .values import at_least

EXAMPLES = ("spin-fairseq report outputs/demo outputs/demo/evaluation --out report.html",)
KEPT = "nothing was written"
VOICE = 6  # a draw whose formants, pitch and pitch range all move, by a middling amount


def add_arguments(parser: Parser) -> None:
    parser.add_argument("sources", nargs="+", metavar="RUN_OR_RESULTS", help="folders of trainings and evaluations")
    parser.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE", help="(default %(default)s)")
    parser.add_argument("--title", default="Speech units", help="of the page (default %(default)s)")
    parser.add_argument(
        "--utterances", type=at_least(0), default=6, metavar="N",
        help="how many utterances to show, each of another speaker (default 6)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=8.0, metavar="S", help="most of each utterance that is shown (default 8)"
    )
    parser.add_seed("the other voice, the same for all utterances", VOICE)
    parser.add_overwrite("replace the page")


def run(args: Namespace) -> int | None:
    if not 0.5 <= args.seconds <= 60:
        raise UsageError(f"--seconds {args.seconds:g} is not between 0.5 and 60")
    from spin_fairseq.report.page import write_report

    refuse_to_replace([args.out], args.overwrite)
    page = write_report(
        args.sources, args.out, title=args.title, command=args.command, utterances=args.utterances, seconds=args.seconds,
        seed=args.seed,
    )  # fmt: skip
    shown = f"{len(page['models'])} models, {len(page['runs'])} trainings, {len(page['utterances'])} utterances"
    args.say(f"{args.out}: {shown}, {args.out.stat().st_size / 1e6:.1f} MB")
