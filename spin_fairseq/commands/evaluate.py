"""Measure how well units predict phones and speakers, side by side for several models, with intervals and paired tests.
MODEL is one of

    CHECKPOINT[:codebook=I]              Spin: any of its checkpoints that this package reads
    FEATURES+kmeans[:layer=L][:k=K]      k-means; FEATURES is mfcc, or a checkpoint of HuBERT, WavLM or Spin (its encoder).
                                         Without layer: the one whose units have the highest PNMI; all are measured
    NAME=CHECKPOINT..., NAME=FEATURES... either of them, shown under this name

It writes to --out:

    results.json, results.csv, results.md, layers.png      metrics, intervals, tests; layers.png if layers were compared
    units/NAME.jsonl, data.tsv, phones.tsv                 the units, and the data that was evaluated
    counts/NAME.npz, counts/NAME.tsv                       how often phones and units co-occur; the best phone of each unit
    parts/, centroids/, cache/                             finished work, from which an interrupted command resumes

If a model fails, this is reported, the others are still measured, and the exit status is 1. What each metric means, which
group it belongs to and where it comes from: `spin-fairseq evaluate --definitions`.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from spin_fairseq.threads import settle

from .parser import Parser, UsageError, usable_device
from .values import at_least, fraction, gigabytes

EXAMPLES = (
    "spin-fairseq evaluate --data data/mine/dev.tsv --phones data/mine/phones --train data/mine/train.tsv \\\n"
    "    checkpoint_last.pt hubert_base_ls960.pt+kmeans:k=256 mfcc+kmeans:k=256",
    "spin-fairseq evaluate --data dev-clean.tsv,dev-other.tsv --phones labels.tsv --metrics phones,speakers \\\n"
    "    spin256=run_256/checkpoint_last.pt spin512=run_512/checkpoint_last.pt --out outputs/codebooks",
)
KEPT = "what was measured so far is kept"
AGAIN = "without --overwrite"


def add_arguments(parser: Parser) -> None:
    add, out = parser.add_argument, Path("outputs/evaluation")
    add("models", nargs="*", metavar="MODEL", help="see above")
    add("--data", action="append", default=[], metavar="MANIFESTS", help=".tsv, .json or folder; a,b for several")
    add("--phones", action="append", default=[], metavar="LABELS", help="10-ms labels: a .tsv, or a folder with one named as "
        "the manifest")  # fmt: skip
    add(
        "--train", action="append", default=[], metavar="MANIFESTS",
        help="data that k-means is fitted on (default: --data)",
    )  # fmt: skip
    add("--out", type=Path, default=out, metavar="FOLDER", help="(default %(default)s)")
    add("--metrics", metavar="GROUPS", help="groups of metrics, such as phones,speakers (default: all)")
    add("--clusters", type=at_least(2), default=100, metavar="K", help="clusters of k-means models without k= (default "
        "%(default)s)")  # fmt: skip
    add("--kmeans-frames", type=at_least(2), default=200_000, metavar="N", help="most frames that k-means is fitted on, drawn "
        "at random (default %(default)s)")  # fmt: skip
    parser.add_seed("k-means, of draws and of resamples")
    add("--samples", type=at_least(1), default=1000, metavar="N", help="bootstrap resamples (default %(default)s)")
    add("--level", type=fraction, default=0.95, help="confidence level of the intervals (default %(default)s)")
    parser.add_overwrite("measure everything again, and replace what is in --out")
    parser.add_encoder()
    parser.add_device()
    parser.add_dtype()
    parser.add_threads()
    add("--cache", type=Path, metavar="FOLDER", help="cache of features, which several evaluations may share (default "
        "OUT/cache)")  # fmt: skip
    add("--cache-gb", type=gigabytes, default=10.0, metavar="GB", help="largest size of the cache; the oldest entries are "
        "removed first (default %(default)g)")  # fmt: skip
    add("--cache-dtype", choices=("float32", "float16"), default="float32", help="float16 halves its size and may change a "
        "few units (default %(default)s)")  # fmt: skip
    add("--definitions", action="store_true", help="explain every metric, and do nothing else")


def run(args: Namespace) -> int | None:
    threads = settle()
    from spin_fairseq.checkpoints.given import encoder_keys
    from spin_fairseq.errors import EvaluationError
    from spin_fairseq.evaluation import definitions
    from spin_fairseq.evaluation.comparison import compare, separate

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
    groups = _groups(args.metrics)
    usable_device(args.device)
    args.say(threads)
    failed = compare(
        args.models, separate(args.data), args.out, phones=separate(args.phones), train=separate(args.train),
        groups=groups, clusters=args.clusters, cache=args.cache, cache_gb=args.cache_gb,
        cache_dtype=args.cache_dtype, device=args.device, threads=args.threads, command=args.command, samples=args.samples,
        level=args.level, seed=args.seed, kmeans_frames=args.kmeans_frames, anew=args.overwrite, progress=True,
        encoder=encoder_keys(args.encoder), dtype=args.dtype,
    )  # fmt: skip
    page = args.out / "results.md"
    args.say(page.read_text(), f"Written to {args.out}: results.json, results.csv, results.md, units/")
    if failed:
        raise EvaluationError(f"not everything could be measured of {', '.join(failed)}; see Errors in {page}")


def _groups(text):
    """--metrics -> the names of these groups in their own order, all of them for None."""
    from spin_fairseq.evaluation.groups import GROUPS

    asked = list(GROUPS) if text is None else [name for name in text.split(",") if name]
    unknown = [name for name in asked if name not in GROUPS]
    if unknown or not asked:
        raise UsageError(f"--metrics: {', '.join(unknown) or 'nothing'} is not one of {', '.join(GROUPS)}")
    return [name for name in GROUPS if name in asked]
