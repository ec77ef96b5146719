#!/usr/bin/env python3
"""What R-Spin changes: units of Spin and of R-Spin, clean, in noise and in a room, after equally many updates.

    python examples/rspin/compare.py --seeds 1 2 3
    python examples/rspin/compare.py --seeds 1 2 3 --noise NOISE --rooms ROOMS

On synthetic speech of five engines and a small base of it (examples/demo/data, hubert_demo.pt). It writes to --out (outputs/rspin):

    train.tsv, dev.tsv          manifests
    teacher/, pieces/           a Spin, and the acoustic pieces of its units
    seed_N/spin, seed_N/rspin   the trainings: config/spin_demo.yaml, and the same with what R-Spin adds (RSPIN below)
    seed_N/all_layers           with --collapse: R-Spin without the auxiliary loss
    results.json, results.md    mean ± standard error over the seeds, and the difference, seed by seed

--noise and --rooms are folders of recordings to train with; without them noise is made of speech (speech-shaped, babble) and rooms
are synthetic, as they are in the measurement. What is there already is not made again. KEY=VALUE changes keys of both.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "examples" / "demo"
sys.path[:0] = [str(REPOSITORY), str(DEMO)]

from means import mean_and_error  # noqa: E402
from trainings import PYTHON  # noqa: E402

from spin_fairseq.checkpoints import load_spin  # noqa: E402
from spin_fairseq.evaluation.clusters import align, cluster_quality  # noqa: E402
from spin_fairseq.evaluation.metrics.distortions import DISTORTIONS  # noqa: E402
from spin_fairseq.evaluation.metrics.robustness import RobustnessMeasurement  # noqa: E402
from spin_fairseq.speech.audio import read_utterance  # noqa: E402
from spin_fairseq.speech.manifest import load_manifest  # noqa: E402
from spin_fairseq.speech.phone_labels import load_phone_labels  # noqa: E402
from spin_fairseq.training_command import shell_line, training_command  # noqa: E402

CONDITIONS = ("noise_20db", "noise_10db", "noise_0db", "reverberation")
NAMES = {"spin": "Spin", "rspin": "R-Spin"}
# Both: batches of half the demo's, so that an update of all layers is not too slow; a rate at which layers move.
BOTH = [
    "dataset.max_tokens=800000", "optimization.lr=[0.001]", "dataset.validate_interval_updates=1000",
    "model.freeze=[cnn,pos,1..2]", "task.perturbation_strength=0.4", "criterion.target_mix=1.0",
]  # fmt: skip
RSPIN = ["model.freeze=[]", "task.noise_snr=[-10,20]", "task.reverberation_probability=0.5"]
SEED_OF_TEACHER = 100


def run(command):
    """A command of this repository -> what it printed; stop with a clear line when it fails."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(REPOSITORY)}
    environment.setdefault("OMP_NUM_THREADS", "1")  # the models are small: threads would wait for each other
    done = subprocess.run(
        list(map(str, command)), cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{done.stdout[-3000:]}\nerror: this command failed: {shell_line(command)}")
    return done.stdout


def train(folder, out, base, seed, updates, keys):
    """-> path of the checkpoint; `folder/log` is what fairseq said."""
    if not (folder / "finished").exists():
        folder.mkdir(parents=True, exist_ok=True)
        paths = {
            "hydra.run.dir": folder,
            "task.data": out,
            "task.phones": DEMO / "data" / "phones",
            "model.checkpoint": base,
        }
        lengths = [
            f"optimization.max_update={updates}", f"lr_scheduler.total_num_update={updates}",
            f"lr_scheduler.warmup_updates={max(1, updates // 8)}", f"common.seed={seed}", "common.log_format=simple",
            f"checkpoint.save_interval_updates={updates}",
        ]  # fmt: skip
        print(f"train {folder.relative_to(out)}", flush=True)
        (folder / "log").write_text(run(training_command("spin_demo", [*lengths, *keys], paths)))
        (folder / "finished").touch()
    return folder / "checkpoint_last.pt"


@torch.no_grad()
def measure(checkpoint, manifest, phones):
    """-> {metric: value} of the units of a split: PNMI clean and in each condition, and unit edit distances."""
    model = load_spin(checkpoint)

    def units_of(waves):
        return [model.extract_units(torch.from_numpy(wave)[None])[0].numpy() for wave in waves]

    def quality(units):
        pairs = [align(phones[name], row, model.encoder.frame_seconds) for name, row in zip(names, units)]
        return cluster_quality(*map(np.concatenate, zip(*pairs)))["pnmi"]

    names = [manifest.utterance_id(i) for i in range(len(manifest))]
    waves = [read_utterance(manifest, i) for i in range(len(manifest))]
    clean = units_of(waves)
    counts = np.bincount(np.concatenate(clean))
    fractions = counts[counts > 0] / counts.sum()
    found = {"pnmi": quality(clean), "units_in_use": float(np.exp(-np.sum(fractions * np.log(fractions))))}
    distorted = {}
    for distortion in DISTORTIONS:
        if distortion.key in CONDITIONS:
            distorted[distortion.key] = units_of([distortion(wave, name) for wave, name in zip(waves, names)])
            found[f"pnmi_{distortion.key}"] = quality(distorted[distortion.key])
            found[f"pnmi_fall_{distortion.key}"] = found["pnmi"] - found[f"pnmi_{distortion.key}"]
    robustness = RobustnessMeasurement(clean, distorted, utterances=names)
    values = robustness.values(np.ones((1, len(names))))
    return {**found, **{f"ued_{key}": float(values[f"ued_{key}"][0]) for key in CONDITIONS},
            **{f"uer_{key}": float(values[f"uer_{key}"][0]) for key in CONDITIONS}}  # fmt: skip


def table(results):
    """Markdown rows. results: a seed each, {"spin": metrics, "rspin": metrics}."""
    titles = {"pnmi": "PNMI ↑", "units_in_use": "perplexity of units"}
    for key in CONDITIONS:
        title = key.replace("_", " at ").replace("db", " dB")
        titles[f"ued_{key}"] = f"unit edit distance, {title} ↓"
        titles[f"uer_{key}"] = f"unit error rate, {title} ↓"
        titles[f"pnmi_{key}"] = f"PNMI, {title} ↑"
        titles[f"pnmi_fall_{key}"] = f"fall of PNMI, {title} ↓"
    order = [
        *list(titles)[:2],
        *(f"{kind}_{key}" for kind in ("ued", "uer", "pnmi", "pnmi_fall") for key in CONDITIONS),
    ]
    rows = ["| | Spin | R-Spin | R-Spin - Spin | in standard errors |", "|---|---|---|---|---|"]
    for key in order:
        spin, rspin = (np.array([result[name][key] for result in results]) for name in NAMES)
        cells = [f"{mean:.3f} ± {error:.3f}" for mean, error in map(mean_and_error, (spin, rspin))]
        mean, error = mean_and_error(rspin - spin)
        times = f"{mean / error:+.1f}" if error > 0 else "–"
        rows.append(f"| {titles[key]} | {' | '.join(cells)} | {mean:+.3f} ± {error:.3f} | {times} |")
    return rows


def page(content):
    """The text of results.md: how it was made, and the table. content: of results.json."""
    seeds = ", ".join(str(result["seed"]) for result in content["seeds"])
    return "\n".join([
        "# R-Spin beside Spin", "", f"    {content['command']}", "",
        f"Base: {content['base']}; {content['updates']} updates each; {content['pieces']}. Mean ± standard error over the seeds "
        f"{seeds}; differences are those within a seed. [README.md](README.md) says what is measured.", "",
        *table(content["seeds"]), "",
    ])  # fmt: skip


def collapse_said(folder):
    """What the training's log says of prototypes in use: the last code_ppl, and the warning where there is one."""
    log = (folder / "log").read_text()
    perplexity = re.findall(r"code_ppl=([\d.]+)", log)
    warning = re.search(r"collapse: code_ppl stayed [^.]*\.\d for \d+ updates", log)
    return {"code_ppl": float(perplexity[-1]), "warning": warning[0] if warning else None}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--base", type=Path, default=DEMO / "hubert_demo.pt", help="default: examples/demo/hubert_demo.pt"
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "rspin", help="default outputs/rspin")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="default 1 2 3")
    parser.add_argument("--updates", type=int, default=10, help="of each training (default 10)")
    parser.add_argument("--teacher-updates", type=int, default=20, help="of the Spin that gives pieces (default 20)")
    parser.add_argument(
        "--utterances", type=int, default=24, help="of dev that are measured, evenly spread (default 24)"
    )
    parser.add_argument("--vocabulary", type=int, default=400, help="of acoustic pieces (default 400)")
    parser.add_argument("--noise", type=Path, help="folder of noise to train with")
    parser.add_argument("--rooms", type=Path, help="folder of impulse responses to train with")
    parser.add_argument(
        "--rspin", nargs="*", default=[], metavar="KEY=VALUE", help="keys of R-Spin alone; give them last"
    )
    parser.add_argument("--collapse", action="store_true", help="also train all layers without the auxiliary loss")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="more keys of the configuration")
    args = parser.parse_intermixed_args(argv)
    out, base = args.out.resolve(), args.base.resolve()
    if not (out / "dev.tsv").exists():
        run([*PYTHON, "prepare", DEMO / "data", "--out", out, "--train", "train", "--dev", "dev"])
    both = [*BOTH, *args.overrides]
    teacher = train(
        out / "teacher", out, base, SEED_OF_TEACHER, args.teacher_updates, [*both, "optimization.lr=[0.0005]"]
    )
    manifests = [out / "train.tsv", out / "dev.tsv"]
    said = run(
        [*PYTHON, "pieces", *manifests, "--model", teacher, "--vocabulary", args.vocabulary, "--out", out / "pieces"]
    )
    noise = f"[{args.noise.resolve()}]" if args.noise else "[speech-shaped,babble]"
    rooms = f"[{args.rooms.resolve()}]" if args.rooms else "[synthetic]"
    rspin = [*RSPIN, f"task.noise={noise}", f"task.reverberation={rooms}", *args.rspin]
    manifest, phones = load_manifest(out, "dev"), load_phone_labels(DEMO / "data" / "phones", "dev")
    chosen = np.linspace(0, len(manifest) - 1, min(args.utterances, len(manifest))).astype(int)
    manifest, results = manifest.select(chosen), []
    for seed in args.seeds:
        folder = out / f"seed_{seed}"
        keys = {"spin": both, "rspin": [*both, *rspin, f"task.pieces={out / 'pieces'}"]}
        result = {"seed": seed}
        for name, own in keys.items():
            checkpoint = train(folder / name, out, base, seed, args.updates, own)
            result[name] = measure(checkpoint, manifest, phones)
        if args.collapse:
            train(folder / "all_layers", out, base, seed, args.updates, [*both, *rspin])
            result["all_layers"] = collapse_said(folder / "all_layers")
        results.append(result)
        content = {
            "command": shlex.join(["python", "examples/rspin/compare.py", *(argv or sys.argv[1:])]), "base": base.name,
            "updates": args.updates, "pieces": said.strip().splitlines()[-1].split(": ", 1)[1], "seeds": results,
        }  # fmt: skip
        (out / "results.json").write_text(json.dumps(content, indent=2) + "\n")
    (out / "results.md").write_text(page(content))
    print(page(content))


if __name__ == "__main__":
    main()
