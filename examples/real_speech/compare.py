#!/usr/bin/env python3
"""What training with Spin changes on real speech: units of MFCCs, of a base, of Spin's start and of Spin, side by side.

    python examples/real_speech/compare.py --speech SPEECH --base BASE.pt --seeds 1 2 3
    python examples/real_speech/compare.py --speech SPEECH --base BASE.pt --seeds 1 2 3 --test vctk task.perturbation_strength=0.6

SPEECH is a LibriSpeech-shaped folder: {train,dev}/SPEAKER/CHAPTER/*.flac, SPEAKERS.TXT, and phones/dev.tsv with
a label for each 10 ms (`utterance-id<TAB>label,label,...`). The speakers of dev should be others than those of train.
BASE is a HuBERT or WavLM. For each seed it trains Spin with config/spin_demo.yaml and the keys given here, and writes to
--out (outputs/real_speech):

    train.tsv, dev.tsv              manifests
    seed_N/start/, seed_N/spin/     the training: one update at learning rate 0, which is the start itself; and all of it
    seed_N/SPLIT/                   spin-fairseq evaluate: metrics of the four, with intervals
    results.json, results.md        mean ± standard error over the seeds

Units of MFCCs and of the base are those of k-means, fitted on train, with as many clusters as Spin has prototypes; the
base's layer is the one whose units have the highest PNMI on dev. With --test, one more split is measured with that
layer. What is there already is not made again; remove a folder to make it anew.
"""

import argparse
import json
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "examples" / "demo")]

from four_models import GROUPS, START, measured, table  # noqa: E402
from trainings import PYTHON, run  # noqa: E402

from spin_fairseq.checkpoints import load_encoder, load_spin  # noqa: E402
from spin_fairseq.evaluation.corpus import load_corpus  # noqa: E402
from spin_fairseq.training_command import training_command  # noqa: E402


def training_keys(layers, trained_layers, updates):
    """The keys that differ from config/spin_demo.yaml. layers: of the base."""
    frozen = ["cnn", "pos", *([f"1..{layers - trained_layers}"] if trained_layers < layers else [])]
    return [
        f"model.freeze=[{','.join(frozen)}]",
        "optimization.lr=[0.0005]",
        f"optimization.max_update={updates}",
        f"lr_scheduler.total_num_update={updates}",
        f"lr_scheduler.warmup_updates={max(1, updates // 10)}",
        f"dataset.validate_interval_updates={updates}",
    ]


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
    """-> as `measured`. layer: of the base, None for the best one."""
    clusters = len(load_spin(checkpoints["spin"]).head.prototypes[0])
    folder = out / f"seed_{seed}" / split
    run([
        *PYTHON, "evaluate", "--data", out / f"{split}.tsv", "--phones", args.speech / "phones" / f"{split}.tsv",
        "--train", out / "train.tsv", "--metrics", GROUPS, "--seed", seed, "--out", folder, "--cache", out / "cache",
        f"mfcc=mfcc+kmeans:k={clusters}", f"base={args.base}+kmeans:k={clusters}" + (f":layer={layer}" if layer else ""),
        *(f"{name}={path}" for name, path in checkpoints.items()),
    ])  # fmt: skip
    corpus = load_corpus([out / f"{split}.tsv"])
    return measured(folder, out / "cache", corpus, args.base, checkpoints)


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
        *PYTHON, "prepare", args.speech, "--out", out, "--train", "train", "--dev", "dev", "--overwrite",
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
            results[split].append({"seed": seed, **evaluate(out, split, layer, args, seed, checkpoints)})
            layer = results["dev"][-1]["base"]["layer"]
    (out / "results.json").write_text(json.dumps({"base": args.base.name, "keys": keys, **results}, indent=2) + "\n")
    lines = [
        line for split in splits for line in (f"## {split}, {len(args.seeds)} seeds", "", *table(results[split]), "")
    ]
    (out / "results.md").write_text("\n".join(lines))
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
