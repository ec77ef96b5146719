#!/usr/bin/env python3
"""What training with Spin changes on real speech: units of MFCCs, of a base, of Spin's start and of Spin, side by side.

    python examples/real_speech/compare.py --speech SPEECH --base BASE.pt --seeds 1 2 3
    python examples/real_speech/compare.py --speech SPEECH --base BASE.pt --seeds 1 2 3 --test vctk task.perturbation_strength=1.0

SPEECH is a LibriSpeech-shaped folder: {train,dev}/SPEAKER/CHAPTER/*.flac, SPEAKERS.TXT, and phones/dev.tsv with
a label for each 10 ms (`utterance-id<TAB>label,label,...`). The speakers of dev should be others than those of train.
BASE is a HuBERT or WavLM. For each seed it trains Spin with config/spin_demo.yaml and the keys given here, and writes to
--out (outputs/real_speech):

    train.tsv, dev.tsv              manifests
    seed_N/start/, seed_N/spin/     the training: one update at learning rate 0, which is the start itself; and all of it
    seed_N/SPLIT/                   spin-fairseq evaluate: all figures of the four, with intervals
    results.json, results.md        mean ± standard error over the seeds

Units of MFCCs and of the base are those of k-means, fitted on train, with as many clusters as Spin has prototypes; the
base's layer is the one whose units have the highest PNMI on dev. With --test, one more split is measured with that
layer. What is there already is not made again; remove a folder to make it anew.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "spin_fairseq"]
sys.path.insert(0, str(REPOSITORY))

from spin_fairseq.checkpoints import load_encoder, load_spin  # noqa: E402
from spin_fairseq.training_command import shell_line, training_command  # noqa: E402

MODELS = {"mfcc": "MFCC, k-means", "base": "base, k-means", "start": "Spin, start", "spin": "Spin"}
FIGURES = {  # key -> (group of spin-fairseq evaluate, title, whether more is better)
    "pnmi": ("phones", "PNMI", True),
    "phone_purity": ("phones", "phone purity", True),
    "speaker_nmi": ("speakers", "speaker NMI of units", False),
    "speaker_accuracy": ("speakers", "speaker accuracy, frames, cross-validated", False),
}


def training_keys(layers, trained_layers, updates):
    """The keys that differ from config/spin_demo.yaml. layers: of the base."""
    frozen = ["cnn", "pos", *([f"1..{layers - trained_layers}"] if trained_layers < layers else [])]
    return [
        f"model.freeze=[{','.join(frozen)}]",
        "task.perturbation_strength=0.6",
        "optimization.lr=[0.0005]",
        f"optimization.max_update={updates}",
        f"lr_scheduler.total_num_update={updates}",
        f"lr_scheduler.warmup_updates={max(1, updates // 10)}",
    ]


START = ["optimization.max_update=1", "optimization.lr=[0.0]", "lr_scheduler.end_learning_rate=0.0"]


def run(command):
    """A command of this repository; stop with a clear line when it fails."""
    # Warnings are about the libraries' own old calls; they would bury the progress bars.
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(REPOSITORY)}
    # Training shares its cores with the data worker: threads that wait by spinning would take them from it.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if subprocess.run(list(map(str, command)), cwd=REPOSITORY, env=environment).returncode:
        sys.exit(f"error: this command failed, its own words are above: {shell_line(command)}")


def train(folder, data, speech, base, seed, keys):
    """-> path of the checkpoint."""
    checkpoint = folder / "checkpoint_last.pt"
    if not (folder / "finished").exists():
        folder.mkdir(parents=True, exist_ok=True)
        paths = {"hydra.run.dir": folder, "task.data": data, "task.phones": speech / "phones", "model.checkpoint": base}
        run(training_command("spin_demo", [f"common.seed={seed}", *keys], paths))
        (folder / "finished").touch()
    return checkpoint


def keep_labelled(manifest, phones):
    """Drop the rows of a manifest without phone labels, which validation asks for. -> how many were dropped."""
    labelled = {row.split("\t", 1)[0] for row in phones.read_text().splitlines()}
    root, *rows = manifest.read_text().splitlines()
    kept = [row for row in rows if Path(row.split("\t")[0]).stem in labelled]
    if not kept:
        raise SystemExit(f"{phones}: no labels for any utterance of {manifest}; they are for other files")
    manifest.write_text("\n".join([root, *kept]) + "\n")
    return len(rows) - len(kept)


def evaluate(out, split, layer, args, seed, checkpoints):
    """-> the content of results.json. layer: of the base, None for the best one."""
    clusters = len(load_spin(checkpoints["spin"]).head.prototypes[0])
    folder = out / f"seed_{seed}" / split
    run([
        *COMMAND, "evaluate", "--data", out / f"{split}.tsv", "--phones", args.speech / "phones" / f"{split}.tsv",
        "--train", out / "train.tsv", "--metrics", "phones,speakers", "--seed", seed, "--out", folder, "--cache", out / "cache",
        f"mfcc=mfcc+kmeans:k={clusters}", f"base={args.base}+kmeans:k={clusters}" + (f":layer={layer}" if layer else ""),
        *(f"{name}={path}" for name, path in checkpoints.items()),
    ])  # fmt: skip
    return json.loads((folder / "results.json").read_text())


def values(content):
    """{model: {figure: value}} of one results.json, and the base's layer."""
    models = {model["name"]: model for model in content["models"]}
    found = {
        name: {key: models[name]["metrics"][group][key]["value"] for key, (group, _, _) in FIGURES.items()}
        for name in MODELS
    }
    return {**found, "base": {**found["base"], "layer": models["base"]["layer"]}}


def mean_and_error(numbers):
    """Mean and standard error; the error of one number is NaN."""
    return float(np.mean(numbers)), float(np.std(numbers, ddof=1) / np.sqrt(len(numbers))) if len(
        numbers
    ) > 1 else float("nan")


def table(results):
    """Markdown rows of the results of several seeds, as `values` gives them; differences are those within a seed."""

    def cell(numbers, sign=""):
        mean, error = mean_and_error(numbers)
        if np.isnan(mean):
            return "–"  # too little speech to measure it
        return f"{mean:{sign}.3f}" + (f" ± {error:.3f}" if len(numbers) > 1 else "")

    rows = [f"| | {' | '.join(MODELS.values())} | Spin - base | Spin - start |", "|---" * (len(MODELS) + 3) + "|"]
    for key, (_, title, more_is_better) in FIGURES.items():
        of = {name: np.array([result[name][key] for result in results], dtype=float) for name in MODELS}
        cells = [*map(cell, of.values()), cell(of["spin"] - of["base"], "+"), cell(of["spin"] - of["start"], "+")]
        rows.append(f"| {title} {'↑' if more_is_better else '↓'} | {' | '.join(cells)} |")
    return rows


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/real_speech/compare.py --speech SPEECH --base BASE.pt [options] [KEY=VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--speech", type=Path, required=True, help="LibriSpeech-shaped folder with train, dev and phones/dev.tsv"
    )
    parser.add_argument("--base", type=Path, required=True, help="a HuBERT or WavLM")
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "outputs" / "real_speech", help="default outputs/real_speech"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="of training and k-means (default 1 2 3)"
    )
    parser.add_argument("--updates", type=int, default=100, help="of Spin (default 100)")
    parser.add_argument(
        "--trained-layers", type=int, default=3, help="how many of the last layers are trained (default 3)"
    )
    parser.add_argument("--test", metavar="SPLIT", help="one more split to measure, with labels in phones/SPLIT.tsv")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="more keys of the configuration")
    args = parser.parse_intermixed_args(argv)
    args.speech, args.base, out = args.speech.resolve(), args.base.resolve(), args.out.resolve()
    splits = ["dev", *([args.test] if args.test else [])]
    keys = training_keys(load_encoder(args.base).num_layers, args.trained_layers, args.updates) + args.overrides
    run([
        *COMMAND, "prepare", args.speech, "--out", out, "--train", "train", "--dev", "dev", "--overwrite",
        *(["--subsets", args.test, args.test] if args.test else []),
    ])  # fmt: skip
    for split in splits:
        dropped = keep_labelled(out / f"{split}.tsv", args.speech / "phones" / f"{split}.tsv")
        print(f"{split}: {dropped} utterances without phone labels are left out", flush=True)
    results = {split: [] for split in splits}
    for seed in args.seeds:
        folder = out / f"seed_{seed}"
        checkpoints = {
            "start": train(folder / "start", out, args.speech, args.base, seed, keys + START),
            "spin": train(folder / "spin", out, args.speech, args.base, seed, keys),
        }
        layer = None
        for split in splits:
            results[split].append({"seed": seed, **values(evaluate(out, split, layer, args, seed, checkpoints))})
            layer = results["dev"][-1]["base"]["layer"]
    (out / "results.json").write_text(json.dumps({"base": args.base.name, "keys": keys, **results}, indent=2) + "\n")
    lines = [
        line for split in splits for line in (f"## {split}, {len(args.seeds)} seeds", "", *table(results[split]), "")
    ]
    (out / "results.md").write_text("\n".join(lines))
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
