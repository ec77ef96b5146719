#!/usr/bin/env python3
"""The whole pipeline on a few minutes of speech: from a base HuBERT to speaker-invariant units. `make demo` runs it.

    python examples/demo/run_demo.py
    python examples/demo/run_demo.py --out outputs/demo_seed_2 --seed 2

It writes to --out (outputs/demo):

    results.json, results.md    MFCC | base | start | Spin: what units say of phones and of speakers
    report.html                 the training and the evaluation to look at and listen to
    checkpoint_last.pt          the Spin model, of fairseq-hydra-train
    start/                      Spin before its first update: k-means of the base, seen through Spin's head
    dev.km                      its units for the dev split
    evaluation/                 all metrics of spin-fairseq evaluate, with intervals and paired tests
    logs/, tensorboard/         what each step printed, and the training's curves

The units of MFCCs and of the base are those of k-means, fitted on the train split, with as many clusters as Spin has
prototypes; the base's layer is the one whose units have the highest PNMI. Given again, the command goes on where it was
stopped, and ends at once where nothing has changed. Other settings need another --out.
"""

import argparse
import json
import os
import shlex
import shutil
import sys
import time
import warnings
from pathlib import Path

from four_models import START, measured, meaning, table
from places import BASE, HERE, REPOSITORY, SPEECH
from steps import Step, StepFailed, digest_of_files, read_record, write_record

CONFIG = REPOSITORY / "config" / "spin_demo.yaml"
sys.path.insert(0, str(REPOSITORY))

WHAT_TRAINING_LEAVES = ("checkpoint*.pt", "crash.pt", "start", "tensorboard", "evaluation", "results.json", "results.md", "report.html",
                        "dev.km", "dev.ids", "dev.km.*")  # fmt: skip


def aligned(rows):
    """A Markdown table for a terminal: the same cells in columns, without its bars."""
    cells = [
        [cell.strip().strip("*") for cell in row.strip("|").split("|")] for row in rows if not row.startswith("|---")
    ]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ["   ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]) for first, *rest in cells]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def closing(out, results):
    """What the demo says at its end: table, meaning, report, and what to try."""
    checkpoint = shlex.quote(os.path.relpath(out / "checkpoint_last.pt"))
    return [
        "",
        *aligned(table([results], brief=True)),
        "",
        meaning(results),
        "",
        f"Report, to look at and listen to: {out / 'report.html'}",
        "",
        "To try next, on your own audio (a folder) first:",
        "",
        f"    spin-fairseq units {checkpoint} MY_AUDIO --out my_units.km",
        f"    spin-fairseq convert {checkpoint} --to hf --out my_model",
        "    spin-fairseq prepare MY_AUDIO --out data/mine --dev-fraction 0.05",
        "",
        "spin-fairseq alone lists all commands; `source .venv/bin/activate` puts it on your path.",
    ]


# --- steps --------------------------------------------------------------------------------------------------------------


def train_spin(step, folder, out, base, seed, overrides):
    """fairseq-hydra-train into a folder; the same call again resumes. out: of the manifests."""
    from spin_fairseq.training_command import training_command

    keys = [f"common.seed={seed}", "common.log_format=json", "common.log_interval=1"]
    paths = {"hydra.run.dir": folder, "task.data": out, "task.phones": SPEECH / "phones", "model.checkpoint": base}
    command = training_command("spin_demo", [*keys, *overrides], paths, CONFIG.parent)
    # Warnings are about the libraries' own old calls.
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(REPOSITORY)}
    step.run(command, environment, r"'max_update': (\d+)", r'"num_updates": "(\d+)"')


def run_steps(out, base, seed, overrides):
    """-> results. Raises StepFailed."""
    logs = out / "logs"
    with Step(1, "manifests of the speech", logs / "1_manifests.log") as step:
        from spin_fairseq.commands.line import main as spin_fairseq

        step.call(spin_fairseq, ["prepare", SPEECH, "--out", out, "--train", "train", "--dev", "dev", "--overwrite"])

    with Step(2, "Spin training by fairseq", logs / "2_training.log") as step:
        if not (out / "start" / "finished").exists():
            train_spin(step, out / "start", out, base, seed, [*overrides, *START, "dataset.max_tokens=320000"])
            (out / "start" / "finished").touch()
        train_spin(step, out, out, base, seed, overrides)

    checkpoint, evaluation = out / "checkpoint_last.pt", out / "evaluation"
    checkpoints = {"start": out / "start" / "checkpoint_last.pt", "spin": checkpoint}
    with Step(
        3, "units of MFCCs, of the base and of Spin, and their metrics", logs / "3_evaluation.log", own_bar=False
    ) as step:
        from spin_fairseq.checkpoints import load_spin

        clusters = len(load_spin(checkpoint).head.prototypes[0])
        step.call(spin_fairseq, [
            "evaluate", "--data", out / "dev.tsv", "--phones", SPEECH / "phones",
            "--train", out / "train.tsv", "--seed", seed, "--out", evaluation,
            f"mfcc=mfcc+kmeans:k={clusters}", f"base={base}+kmeans:k={clusters}",
            *(f"{name}={path}" for name, path in checkpoints.items()),
        ])  # fmt: skip

    with Step(4, "results and report", logs / "4_results.log") as step:
        step.total(7)
        step.call(spin_fairseq, ["units", checkpoint, out / "dev.tsv", "--out", out / "dev.km", "--overwrite"])
        step.reach(1)
        results = results_of(step, out, evaluation, base, checkpoints, clusters, seed)
        step.call(spin_fairseq, ["report", out, evaluation, "--out", out / "report.html", "--overwrite"])
    return results


def results_of(step, out, evaluation, base, checkpoints, clusters, seed):
    """Compute and write results.json and results.md -> their content."""
    from spin_fairseq.evaluation.corpus import load_corpus

    dev = load_corpus([out / "dev.tsv"])
    with step.quiet():
        results = measured(evaluation, evaluation / "cache", dev, base, checkpoints, lambda: step.reach(step.bar.n + 1))
    results.update(clusters=clusters, seed=seed, speakers=len(set(dev.speakers)))
    (sweep,) = json.loads((evaluation / "results.json").read_text())["layers"]
    results["base_pnmi_by_layer"] = {row["layer"]: row["metrics"]["pnmi"] for row in sweep["layers"]}
    (out / "results.md").write_text("\n".join([*table([results]), "", meaning(results)]) + "\n")
    write_record(out / "results.json", results)
    step.reach(6)
    return results


# --- what has changed ----------------------------------------------------------------------------------------------------


def fingerprints(base, seed, overrides):
    """-> hex digests: of what the training depends on; of that and of all code, on which the results depend."""
    speech = sorted(path for path in SPEECH.rglob("*") if path.is_file())
    code = sorted(
        [
            *(REPOSITORY / "spin_fairseq").rglob("*.py"),
            *(REPOSITORY / "spin_fairseq").rglob("*.html"),
            *HERE.glob("*.py"),
        ]
    )
    training = digest_of_files([CONFIG, base, *speech], seed, overrides)
    return training, digest_of_files(code, training)


def make_room(out, training, record):
    """Remove what a training with other settings has left in the demo's folder; one that the demo did not make is left alone."""
    if not [*out.glob("checkpoint*.pt"), *out.glob("start/checkpoint*.pt")] or record.get("training") == training:
        return
    if "training" not in record:
        sys.exit(
            f"error: {out} holds a checkpoint, and nothing says how it was trained; choose another --out, or remove that folder"
        )
    print(f"{os.path.relpath(out)} was made with other settings; it is made anew", flush=True)
    for pattern in WHAT_TRAINING_LEAVES:
        for path in out.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/demo/run_demo.py [--out FOLDER] [--seed N] [KEY=VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "demo", help="default outputs/demo")
    parser.add_argument("--seed", type=int, default=7122, help="of training and k-means (default 7122)")
    parser.add_argument("--base", type=Path, default=BASE, help="the base model")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="more keys of the configuration")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")  # of fairseq and torch about their own calls
    # Before torch is imported. Training shares its cores with a data worker: threads that wait by spinning would take them from it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    started, out, base = time.time(), args.out.resolve(), args.base.resolve()
    if not base.is_file():
        sys.exit(f"error: {base}: no such base model; give another --base")
    out.mkdir(parents=True, exist_ok=True)
    training, everything = fingerprints(base, args.seed, args.overrides)
    record = read_record(out / "demo.json")
    results = read_record(out / "results.json") if record.get("finished") == everything else {}
    if results and all((out / name).is_file() for name in ("checkpoint_last.pt", "dev.km", "report.html")):
        print(f"Nothing has changed since the demo last ran; remove {os.path.relpath(out)} to run it anew.")
    else:
        make_room(out, training, record)
        write_record(out / "demo.json", {"training": training})
        try:
            results = run_steps(out, base, args.seed, args.overrides)
        except KeyboardInterrupt:
            print(
                "\nStopped. Nothing is lost but the step in progress: the same command resumes from here.",
                file=sys.stderr,
            )
            sys.exit(130)
        except StepFailed as error:
            sys.exit(f"error: {error}")
        write_record(out / "demo.json", {"training": training, "finished": everything})
        print(f"\nDone in {(time.time() - started) / 60:.1f} minutes.")
    print(*closing(out, results), sep="\n")


if __name__ == "__main__":
    main()
