"""Measure how well units predict phones and speakers, side by side for several models, with intervals and paired tests.
MODEL is one of

    CHECKPOINT[:codebook=I]              Spin: any of its checkpoints that this package reads
    FEATURES+kmeans[:layer=L][:k=K]      k-means; FEATURES is mfcc, or a checkpoint of HuBERT, WavLM or Spin (its encoder).
                                         Without layer: the one whose units have the highest PNMI; all are measured
    NAME=CHECKPOINT..., NAME=FEATURES... either, under a name of its own

It writes to --out:

    results.json, results.csv, results.md, layers.png      the metrics, intervals, tests; layers.png where layers were compared
    units/NAME.jsonl, data.tsv, phones.tsv                 units, and what was evaluated
    counts/NAME.npz, counts/NAME.tsv                       how often phone and unit meet; the best phone of each unit
    parts/, centroids/, cache/                             finished work, which lets an interrupted command resume

A model that fails is reported, and the others are measured all the same; the command then ends with exit status 1.
What each metric is, in which group, and where it comes from: `spin-fairseq evaluate --definitions`.
"""

from __future__ import annotations

from pathlib import Path

from spin_fairseq.threads import settle

from .parser import UsageError, usable_device
from .values import at_least

EXAMPLES = (
    "spin-fairseq evaluate --data data/mine/dev.tsv --phones data/mine/phones --train data/mine/train.tsv \\\n"
    "    checkpoint_last.pt hubert_base_ls960.pt+kmeans:k=256 mfcc+kmeans:k=256",
    "spin-fairseq evaluate --data dev-clean.tsv,dev-other.tsv --phones labels.tsv --metrics phones,speakers \\\n"
    "    spin256=run_256/checkpoint_last.pt spin512=run_512/checkpoint_last.pt --out outputs/codebooks",
)
KEPT = "what was measured so far is kept"
AGAIN = "without --overwrite"


def add_arguments(parser):
    parser.add_argument("models", nargs="*", metavar="MODEL", help="see above")
    parser.add_argument(
        "--data", action="append", default=[], metavar="MANIFESTS", help=".tsv, .json or folder; a,b for several"
    )
    parser.add_argument(
        "--phones",
        action="append",
        default=[],
        metavar="LABELS",
        help="10-ms labels: a .tsv, or a folder with one named as the manifest",
    )
    parser.add_argument(
        "--train", action="append", default=[], metavar="MANIFESTS", help="what k-means is fitted on (default: --data)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/evaluation"), metavar="FOLDER", help="(default outputs/evaluation)"
    )
    parser.add_argument("--metrics", metavar="GROUPS", help="groups of metrics, such as phones,speakers (default: all)")
    parser.add_argument(
        "--clusters", type=at_least(2), default=100, metavar="K", help="of k-means without k= (default 100)"
    )
    parser.add_argument(
        "--kmeans-frames",
        type=at_least(2),
        default=200_000,
        metavar="N",
        help="most that k-means is fitted on, drawn at random (default 200000)",
    )
    parser.add_seed("k-means, of draws and of resamples")
    parser.add_argument(
        "--samples", type=at_least(1), default=1000, metavar="N", help="bootstrap resamples (default 1000)"
    )
    parser.add_argument("--level", type=float, default=0.95, help="of intervals (default 0.95)")
    parser.add_overwrite("measure all anew, also what is in --out")
    parser.add_encoder()
    parser.add_device()
    parser.add_threads()
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="for features, which several evaluations may share (default OUT/cache)",
    )
    parser.add_argument(
        "--cache-gb",
        type=float,
        default=10.0,
        metavar="GB",
        help="most that it may hold; the oldest goes first (default 10)",
    )
    parser.add_argument(
        "--cache-dtype",
        choices=("float32", "float16"),
        default="float32",
        help="float16 halves it and may change a few units (default float32)",
    )
    parser.add_argument("--definitions", action="store_true", help="print what every metric is, and stop")


def run(args):
    threads = settle()
    from spin_fairseq.checkpoints.given import encoder_keys
    from spin_fairseq.errors import EvaluationError
    from spin_fairseq.evaluation import definitions
    from spin_fairseq.evaluation.comparison import compare, separate
    from spin_fairseq.evaluation.groups import GROUPS

    if args.definitions:
        print(definitions.page(), end="")
        return
    if not (args.data and args.models):
        raise UsageError("--data and at least one MODEL are needed")
    for model in args.models:
        if model.endswith((".tsv", ".json")):
            raise UsageError(
                f"{model} is a manifest, and stands where a model is expected; --data a.tsv,b.tsv takes several"
            )
    asked = list(GROUPS) if args.metrics is None else [name for name in args.metrics.split(",") if name]
    unknown = [name for name in asked if name not in GROUPS]
    if unknown or not asked:
        raise UsageError(f"--metrics: {', '.join(unknown) or 'nothing'} is not one of {', '.join(GROUPS)}")
    if not (0 < args.level < 1 and args.cache_gb >= 0):
        raise UsageError("--level must be a fraction between 0 and 1, such as 0.95, and --cache-gb at least 0")
    usable_device(args.device)
    args.say(threads)
    failed = compare(
        args.models, separate(args.data), args.out, phones=separate(args.phones), train=separate(args.train),
        groups=[name for name in GROUPS if name in asked], clusters=args.clusters, cache=args.cache, cache_gb=args.cache_gb,
        cache_dtype=args.cache_dtype, device=args.device, threads=args.threads, command=args.command, samples=args.samples,
        level=args.level, seed=args.seed, kmeans_frames=args.kmeans_frames, anew=args.overwrite, progress=True,
        encoder=encoder_keys(args.encoder),
    )  # fmt: skip
    args.say(
        (args.out / "results.md").read_text(), f"Written to {args.out}: results.json, results.csv, results.md, units/"
    )
    if failed:
        raise EvaluationError(
            f"not everything could be measured of {', '.join(failed)}; see Errors in {args.out / 'results.md'}"
        )
