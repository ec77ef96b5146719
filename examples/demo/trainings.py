"""Several trainings of Spin on the same speech, over several seeds: what the comparisons of DC-Spin, of depths and of HuBERT's
next iteration have in common."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from means import mean_text
from places import BASE, REPOSITORY, SPEECH

sys.path.insert(0, str(REPOSITORY))

from spin_fairseq.fingerprints import digest_of  # noqa: E402
from spin_fairseq.training_command import shell_line, training_command  # noqa: E402

PYTHON = [sys.executable, "-m", "spin_fairseq"]


def add_arguments(parser, out):
    """The options of all of them. out: default folder of the runs, within outputs/."""
    parser.add_argument(
        "--speech", type=Path, default=SPEECH, help="LibriSpeech-shaped folder with train, dev, phones/dev.tsv"
    )
    parser.add_argument("--base", type=Path, default=BASE, help="a HuBERT or WavLM")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "outputs" / out, help=f"folder of the runs (default outputs/{out})"
    )
    parser.add_argument("--page", type=Path, help="the page to write (default results.md in --out)")
    parser.add_argument("--updates", type=int, default=30, help="of each training (default 30)")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="more keys of the configuration, for all trainings"
    )


def parse_arguments(parser, argv):
    """-> the options, with absolute paths, and with a page; the manifests of the speech are written to args.out."""
    args = parser.parse_intermixed_args(argv)
    args.speech, args.base, args.out = args.speech.resolve(), args.base.resolve(), args.out.resolve()
    args.page = args.page or args.out / "results.md"
    write_manifests(args.speech, args.out)
    return args


def run(command):
    """A command of this repository; stop with a clear line when it fails."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(REPOSITORY)}
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # training shares its cores with the data worker
    if subprocess.run(list(map(str, command)), cwd=REPOSITORY, env=environment).returncode:
        sys.exit(f"error: this command failed, its own words are above: {shell_line(command)}")


def write_manifests(speech, out):
    run([*PYTHON, "prepare", speech, "--out", out, "--train", "train", "--dev", "dev", "--overwrite"])


def schedule(updates):
    """Keys for a training of so many updates, which is not validated: what is compared is measured afterwards."""
    return [
        f"optimization.max_update={updates}", f"lr_scheduler.total_num_update={updates}",
        f"lr_scheduler.warmup_updates={max(1, updates // 10)}", f"checkpoint.save_interval_updates={updates}",
        "dataset.disable_validation=true", "task.phones=null", "dataset.num_workers=0", "common.log_format=none",
    ]  # fmt: skip


def train(args, seed, keys):
    """-> the checkpoint of a training with config/spin_demo.yaml and these keys; one that is there is not trained again."""
    keys = [f"common.seed={seed}", *schedule(args.updates), *keys, *args.overrides]
    folder = args.out / f"seed_{seed}" / digest_of([keys, str(args.base)])
    if not (folder / "finished").exists():
        folder.mkdir(parents=True, exist_ok=True)
        paths = {"hydra.run.dir": folder, "task.data": args.out, "model.checkpoint": args.base}
        run(training_command("spin_demo", keys, paths))
        (folder / "finished").touch()
    return folder / "checkpoint_last.pt"


def phone_metrics(corpus, units, clusters, frame_seconds):
    """-> {metric: value} of the utterances that have phone labels. units: an array an utterance of the corpus."""
    from spin_fairseq.evaluation.confidence import plain
    from spin_fairseq.evaluation.metrics.phones import PhoneMeasurement

    phones, units = ([rows[i] for i in corpus.labelled] for rows in (corpus.phones, units))
    return plain(PhoneMeasurement(phones, units, clusters, frame_seconds=frame_seconds))


def table(results, metrics):
    """Rows of Markdown: mean ± standard error over seeds, and in brackets the difference to the first training, within seeds.

    results: {title of a training: [{metric: value}, one a seed]}; metrics: {key: (title, whether more is better)}.
    """
    arrow = {True: " ↑", False: " ↓", None: ""}
    rows = ["| | " + " | ".join(title + arrow[better] for title, better in metrics.values()) + " |"]
    rows.append("|---" * (len(metrics) + 1) + "|")
    first = next(iter(results.values()))
    for title, runs in results.items():
        cells = []
        for key in metrics:
            values, start = (np.array([each[key] for each in of], dtype=float) for of in (runs, first))
            text = mean_text(values)
            if runs is not first:
                text += f" ({mean_text(values - start, '+')})"
            cells.append(text)
        rows.append(f"| {title} | {' | '.join(cells)} |")
    return rows


def over_seeds(seeds):
    """How a page's text begins: what its numbers are taken over."""
    return "One seed" if len(seeds) == 1 else f"Mean ± standard error over {len(seeds)} seeds"


def command_line(script, args, parser):
    """The command that makes a page, of the options that are not the defaults."""
    words = ["python", f"examples/{script}", "--seeds", *map(str, args.seeds), "--updates", str(args.updates)]
    for name, value in vars(args).items():
        if name not in ("seeds", "updates", "out", "page", "overrides") and value != parser.get_default(name):
            values = value if isinstance(value, list) else [value]
            values = [os.path.relpath(each, REPOSITORY) if isinstance(each, Path) else str(each) for each in values]
            words += [f"--{name.replace('_', '-')}", *values]
    return shlex.join([*words, *args.overrides])


def write_page(args, text, results):
    args.page.write_text(text)
    (args.out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(text)
