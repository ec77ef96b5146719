#!/usr/bin/env python3
"""The main job on a few minutes of speech: from a base HuBERT to speaker-invariant units. `make demo` runs it.

    python examples/demo/run_demo.py
    python examples/demo/run_demo.py --out outputs/demo_seed_2 --seed 2

It writes to --out (outputs/demo):

    results.json, results.md    MFCC | base | Spin: PNMI, cluster purity, phone purity, speaker accuracy
    report.html                 the training and the evaluation to look at and listen to
    checkpoint_last.pt          the Spin model, of fairseq-hydra-train
    dev.km                      its units for the dev split
    evaluation/                 all metrics of `spin-fairseq evaluate`, with intervals and paired tests
    train.log, tensorboard/     the training

The units of MFCCs and of the base are those of k-means, fitted on the train split, with as many clusters as Spin has
prototypes; the base's layer is the one whose units have the highest PNMI. An interrupted run goes on where it stopped.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

from threadpoolctl import threadpool_limits

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
COMMAND = [sys.executable, "-m", "spin_fairseq"]
sys.path.insert(0, str(REPOSITORY))

from spin_fairseq.checkpoints import load_spin  # noqa: E402
from spin_fairseq.evaluation.corpus import load_corpus  # noqa: E402
from spin_fairseq.evaluation.features.cache import FeatureCache  # noqa: E402
from spin_fairseq.evaluation.features.representations import EncoderSource, MfccSource, SpinSource  # noqa: E402
from spin_fairseq.evaluation.metrics.speakers import speaker_accuracy  # noqa: E402

METRICS = ["pnmi", "cluster_purity", "phone_purity", "speaker_accuracy"]


def summary(evaluation, train, dev, base, checkpoint):
    """{"mfcc", "base", "spin": metrics}, of the evaluation's folder, and of a speaker classifier fitted on train.

    The evaluation's own classifier is fitted on dev, whose speakers have few seconds each; this one has all of train.
    """
    cache = FeatureCache(evaluation / "cache")
    sources = {"mfcc": MfccSource(), "base": EncoderSource(base), "spin": SpinSource(checkpoint)}
    models = {model["name"]: model for model in json.loads((evaluation / "results.json").read_text())["models"]}
    results = {}
    for name, source in sources.items():
        layer, metrics = models[name]["layer"], models[name]["metrics"]["phones"]
        results[name] = {key: metrics[key]["value"] for key in METRICS[:3]}
        features = (list(cache.layer(source, layer, corpus)) for corpus in (train, dev))
        pairs = zip(features, (train.speakers, dev.speakers))
        with threadpool_limits(1):  # its matrices are small: threads wait for each other longer than they work
            results[name]["speaker_accuracy"] = speaker_accuracy(*(side for pair in pairs for side in pair))
    return {**results, "base": {**results["base"], "layer": models["base"]["layer"]}}


def run(command):
    """A command of this repository; stop with a clear line when it fails."""
    # Warnings are about the libraries' own old calls; they would bury the progress bars.
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(REPOSITORY)}
    # Training fractions its two cores with the data worker: threads that wait by spinning would take them from it.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if subprocess.run(list(map(str, command)), cwd=REPOSITORY, env=environment).returncode:
        sys.exit(f"error: this command failed, its own words are above: {' '.join(map(str, command))}")


def train_spin(out, data, phones, base, seed, overrides):
    """fairseq-hydra-train, its progress bar on the screen; the same call again resumes."""
    run([
        Path(sys.executable).with_name("fairseq-hydra-train"),
        "--config-dir", "config",
        "--config-name", "spin_demo",
        f"hydra.run.dir={out}",
        f"common.user_dir={REPOSITORY / 'spin_fairseq'}",
        f"common.seed={seed}",
        f"task.data={data}",
        f"task.phones={phones}",
        f"model.checkpoint={base}",
        *overrides,
    ])  # fmt: skip


def table(results, clusters):
    """The results in Markdown."""
    rows = [f"| K = {clusters} | MFCC, k-means | base, k-means of layer {results['base']['layer']} | Spin |", "|---|---|---|---|"]
    for key in METRICS:
        cells = " | ".join(f"{results[name][key]:.3f}" for name in ("mfcc", "base", "spin"))
        rows.append(f"| {key.replace('_', ' ').replace('pnmi', 'PNMI')} | {cells} |")
    return rows


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/demo/run_demo.py [--out FOLDER] [--seed N] [KEY=VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "demo", help="default outputs/demo")
    parser.add_argument("--seed", type=int, default=7122, help="of training and k-means (default 7122)")
    parser.add_argument("--base", type=Path, default=HERE / "hubert_demo.pt", help="the base model")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="more keys of the configuration")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore", FutureWarning)  # torch's, of fairseq's own calls
    started = time.time()
    out, speech = args.out.resolve(), HERE / "data"
    out.mkdir(parents=True, exist_ok=True)

    print("1/4  manifests", flush=True)
    run([*COMMAND, "prepare", speech, "--out", out, "--train", "train", "--dev", "dev", "--overwrite"])

    print("2/4  Spin training", flush=True)
    train_spin(out, out, speech / "phones", args.base.resolve(), args.seed, args.overrides)

    print("3/4  units of MFCCs, of the base and of Spin", flush=True)
    base, checkpoint, evaluation = args.base.resolve(), out / "checkpoint_last.pt", out / "evaluation"
    clusters = len(load_spin(checkpoint).head.prototypes[0])
    run([
        *COMMAND, "evaluate", "--data", out / "dev.tsv", "--phones", speech / "phones",
        "--train", out / "train.tsv", "--seed", args.seed, "--out", evaluation,
        f"mfcc=mfcc+kmeans:k={clusters}", f"base={base}+kmeans:k={clusters}", f"spin={checkpoint}",
    ])  # fmt: skip
    run([*COMMAND, "units", checkpoint, out / "dev.tsv", "--out", out / "dev.km", "--overwrite"])

    print("4/4  results", flush=True)
    train, dev = load_corpus([out / "train.tsv"]), load_corpus([out / "dev.tsv"])
    results = {**summary(evaluation, train, dev, base, checkpoint), "clusters": clusters, "seed": args.seed}
    (sweep,) = json.loads((evaluation / "results.json").read_text())["layers"]
    results["base_pnmi_by_layer"] = {row["layer"]: row["metrics"]["pnmi"] for row in sweep["layers"]}
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (out / "results.md").write_text("\n".join(table(results, clusters)) + "\n")
    run([*COMMAND, "report", out, evaluation, "--out", out / "report.html", "--overwrite"])
    print("", *table(results, clusters), "", sep="\n")
    print(f"PNMI: what the units say of the phones, more is better. Speaker accuracy: of a linear classifier on frames, "
          f"less is better, chance is {1 / len(set(dev.speakers)):.2f}.")  # fmt: skip
    print(f"Units: {out / 'dev.km'}   model: {checkpoint}   report: {out / 'report.html'}")
    print(f"Done in {(time.time() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
