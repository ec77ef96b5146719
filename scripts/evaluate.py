#!/usr/bin/env python3
"""Measure what units say of phones and speakers, side by side for several models, with intervals and paired tests.

    python scripts/evaluate.py --data DATA/dev.tsv --phones DATA/phones --train DATA/train.tsv \\
        outputs/spin_hubert_base/checkpoints/checkpoint_last.pt hubert_base_ls960.pt+kmeans:k=256 mfcc+kmeans:k=256
    python scripts/evaluate.py --data dev-clean.tsv,dev-other.tsv --phones labels.tsv --sets phones,speakers \\
        spin256=RUN_256/checkpoint_last.pt spin512=RUN_512/checkpoint_last.pt --out outputs/codebooks --device cuda

MODEL is one of

    CHECKPOINT[:codebook=I]              Spin: any of its checkpoints that this package reads
    FEATURES+kmeans[:layer=L][:k=K]      k-means; FEATURES is mfcc, or a checkpoint of HuBERT, WavLM or Spin (its encoder).
                                         Without layer: the one whose units have the highest PNMI; all are measured
    NAME=CHECKPOINT..., NAME=FEATURES... either, under a name of its own

It writes to --out:

    results.json, results.csv, results.md, layers.png      the figures, intervals, tests; layers.png where layers were compared
    units/NAME.jsonl, data.tsv, phones.tsv                 units, and what was evaluated
    counts/NAME.npz, counts/NAME.tsv                       how often phone and unit meet; the best phone of each unit
    parts/, centroids/, cache/                             what an interrupted command, given again, does not do again

A model that fails is reported, and the others are measured all the same; the command then ends with exit code 1.
"""

import argparse
import os
import shlex
import sys
from importlib import metadata
from pathlib import Path

# Before what reads it: threads that wait by spinning make k-means ten times slower beside any other work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # noqa: E402

from spin_fairseq import __version__  # noqa: E402
from spin_fairseq.errors import ConfigError, SpinError  # noqa: E402
from spin_fairseq.evaluation import definitions  # noqa: E402
from spin_fairseq.evaluation.corpus import load_corpus  # noqa: E402
from spin_fairseq.evaluation.runner import Evaluation  # noqa: E402
from spin_fairseq.evaluation.features.cache import FeatureCache  # noqa: E402
from spin_fairseq.evaluation.groups import SETS  # noqa: E402
from spin_fairseq.evaluation.features.specs import parse_specs  # noqa: E402

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")


def paths(texts):
    """Options given several times, or with commas between -> a list; a file whose name has a comma stays one."""
    return [path for text in texts for path in ([text] if os.path.exists(text) else text.split(","))]


def sets(text):
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in SETS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} is not one of {', '.join(SETS)}")
    return [name for name in SETS if name in names]


def check_device(name):
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name}: {str(error).splitlines()[0]}; use cpu, or a device that is there") from error


def make_folder(path):
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error}); choose another --out") from error


def parse(argv):
    parser = argparse.ArgumentParser(
        usage="python scripts/evaluate.py --data MANIFESTS [--phones LABELS] [--train MANIFESTS] [options] MODEL [MODEL ...]",
        description=__doc__,
        epilog=definitions.help_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="see above")
    parser.add_argument("--data", action="append", default=[], metavar="MANIFESTS", help=".tsv, .json or folder; a,b for several")
    parser.add_argument("--phones", action="append", default=[], metavar="LABELS", help="10-ms labels: a .tsv, or a folder with one named as the manifest")
    parser.add_argument("--train", action="append", default=[], metavar="MANIFESTS", help="what k-means is fitted on (default: --data)")
    parser.add_argument("--out", type=Path, default=Path("outputs/evaluation"), help="folder (default outputs/evaluation)")
    parser.add_argument("--sets", type=sets, default=list(SETS), metavar="SETS", help=f"of {','.join(SETS)} (default: all)")
    parser.add_argument("--clusters", type=int, default=100, help="of k-means without k= (default 100)")
    parser.add_argument("--kmeans-frames", type=int, default=200_000, help="most that k-means is fitted on, drawn at random (default 200000)")
    parser.add_argument("--seed", type=int, default=0, help="of k-means, of draws and of resamples (default 0)")
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap resamples (default 1000)")
    parser.add_argument("--level", type=float, default=0.95, help="of intervals (default 0.95)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default cpu)")
    parser.add_argument("--workers", type=int, default=1, help="threads that decode audio meanwhile (default 1)")
    parser.add_argument("--cache", type=Path, help="folder for features, which several evaluations may share (default OUT/cache)")
    parser.add_argument("--cache-gb", type=float, default=10.0, help="most that it may hold; the oldest goes first (default 10)")
    parser.add_argument("--cache-dtype", choices=("float32", "float16"), default="float32",
                        help="float16 halves it and may change a few units (default float32)")  # fmt: skip
    parser.add_argument("--definitions", action="store_true", help="print docs/metrics.md and stop")
    args = parser.parse_args(argv)
    if not args.definitions and not (args.data and args.models):
        parser.error("--data and at least one MODEL are needed")
    for name, low in (("clusters", 2), ("kmeans_frames", 2), ("samples", 1), ("cache_gb", 0), ("seed", 0), ("workers", 0)):
        if getattr(args, name) < low:
            parser.error(f"--{name.replace('_', '-')} must be at least {low}")
    if not 0 < args.level < 1:
        parser.error("--level is a share between 0 and 1, such as 0.95")
    return args


def main(argv=None):
    args = parse(argv)
    if args.definitions:
        print(definitions.page(), end="")
        return
    command = shlex.join(["python", "scripts/evaluate.py", *(sys.argv[1:] if argv is None else map(str, argv))])
    versions = {"spin_fairseq": __version__, **{name: metadata.version(name) for name in PACKAGES}}
    try:
        check_device(args.device)
        specs = parse_specs(args.models, args.clusters)
        corpus = load_corpus(paths(args.data), paths(args.phones))
        train = load_corpus(paths(args.train)) if args.train else None
        make_folder(args.out)
        cache = FeatureCache(
            args.cache or args.out / "cache", args.cache_gb * 1e9, args.cache_dtype, args.device, args.workers, progress=True
        )
        evaluation = Evaluation(
            args.out, corpus, specs, args.sets, cache, train=train, samples=args.samples, level=args.level, seed=args.seed,
            kmeans_frames=args.kmeans_frames, about={"command": command, "versions": versions}, progress=True,
        )  # fmt: skip
        whole = evaluation.run()
    except SpinError as error:
        sys.exit(f"error: {error}")
    print((args.out / "results.md").read_text())
    print(f"Written to {args.out}: results.json, results.csv, results.md, units/")
    if not whole:
        failed = [model["name"] for model in evaluation.models if model["errors"]]
        sys.exit(f"error: not everything could be measured of {', '.join(failed)}; see Errors above")


if __name__ == "__main__":
    main()
