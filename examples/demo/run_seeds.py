#!/usr/bin/env python3
"""The demo over several seeds, and whether Spin beats the base by more than chance.

    python examples/demo/run_seeds.py --seeds 1 2 3
    python examples/demo/run_seeds.py --seeds 1 2 3 --beside task.perturbation=praat

Runs run_demo.py for each seed (training, k-means and draws; those whose results.json is there are not run again) and writes
mean and standard error of each metric, and of the difference Spin - base, to --table (examples/demo/RESULTS.md). With --beside
the seeds run again with other keys, and the page has the difference between the two trainings as well.
"""

import argparse
import json
import shlex
from pathlib import Path

import numpy as np
from run_demo import METRICS, HERE, REPOSITORY, TITLES
from run_demo import main as run_demo

from spin_fairseq.fingerprints import digest_of


def mean_and_error(values):
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def summary(results):
    """results: of run_demo, a seed each -> {metric: {"base" | "spin" | "difference": (mean, standard error)}}."""
    rows = {}
    for key in METRICS:
        base, spin = (np.array([result[name][key] for result in results]) for name in ("base", "spin"))
        rows[key] = {
            name: mean_and_error(v) for name, v in [("base", base), ("spin", spin), ("difference", spin - base)]
        }
    return rows


def markdown(rows, results, command):
    """The page with the table and the command that makes it."""
    layers = sorted({result["base"]["layer"] for result in results})
    lines = [
        "# Spin beside k-means on the same base",
        "",
        f"Mean ± standard error over {len(results)} seeds on the dev split of `examples/demo/natural`; K = {results[0]['clusters']} for both. "
        f"Base: k-means of the layer whose units have the highest PNMI (layer {', '.join(map(str, layers))}). "
        "Speaker accuracy: of a linear classifier on single frames of that layer, and of Spin's embeddings, fitted on half of dev; "
        "at equal width it sees as many principal components of the layer as embeddings have dimensions; chance is about 0.11. "
        "[EVALUATION.md](EVALUATION.md) has every other metric, for MFCCs too and for several K.",
        "",
        f"    {command}",
        "",
        "| | base, k-means | Spin | Spin - base |",
        "|---|---|---|---|",
    ]
    for key, row in rows.items():
        cells = (f"{mean:{sign}.3f} ± {error:.3f}" for (mean, error), sign in zip(row.values(), ("", "", "+")))
        lines.append(f"| {TITLES[key]} | {' | '.join(cells)} |")
    lines += ["", "| seed | " + " | ".join(f"{name} {key}".replace("_", " ") for key in METRICS for name in ("base", "spin")) + " |",
              "|---" * (1 + 2 * len(METRICS)) + "|"]  # fmt: skip
    for result in results:
        cells = (f"{result[name][key]:.3f}" for key in METRICS for name in ("base", "spin"))
        lines.append(f"| {result['seed']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def markdown_beside(results, others, overrides):
    """The section that compares two trainings of the same seeds."""
    lines = ["", f"## Beside {' '.join(overrides)}", "", "Differences are those of runs with the same seed.", "",
             "| | as above | with it | difference |", "|---|---|---|---|"]  # fmt: skip
    for key in METRICS:
        above, beside = (np.array([result["spin"][key] for result in runs]) for runs in (results, others))
        cells = [mean_and_error(values) for values in (above, beside, beside - above)]
        text = (f"{mean:{sign}.3f} ± {error:.3f}" for (mean, error), sign in zip(cells, ("", "", "+")))
        lines.append(f"| {TITLES[key]} | {' | '.join(text)} |")
    return "\n".join(lines) + "\n"


def results_of(seeds, out, overrides):
    """Results of run_demo for each seed, in folders of their own for other keys; run where they are not there yet."""
    results = []
    for seed in seeds:
        # Named by a digest: the keys themselves may be longer than a file system allows.
        folder = out / "_".join([f"demo_seed_{seed}", *([digest_of(overrides)] if overrides else [])])
        file = folder / "results.json"
        if not file.exists() or any(key not in json.loads(file.read_text()).get("spin", {}) for key in METRICS):
            run_demo(["--out", str(folder), "--seed", str(seed), *overrides])
        results.append(json.loads((folder / "results.json").read_text()))
    return results


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/demo/run_seeds.py --seeds 1 2 3 [--overrides KEY=VALUE ...] [--beside KEY=VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "outputs", help="folder for the runs (default outputs)"
    )
    parser.add_argument("--table", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument(
        "--overrides", nargs="*", default=[], metavar="KEY=VALUE", help="more keys of the configuration"
    )
    parser.add_argument(
        "--beside", nargs="*", default=[], metavar="KEY=VALUE", help="keys of a second training to compare"
    )
    args = parser.parse_args(argv)
    results = results_of(args.seeds, args.out, args.overrides)
    overrides = ["--overrides", *args.overrides] if args.overrides else []
    beside = ["--beside", *args.beside] if args.beside else []
    command = "python examples/demo/run_seeds.py --seeds " + shlex.join([*map(str, args.seeds), *overrides, *beside])
    page = markdown(summary(results), results, command)
    if beside:
        others = results_of(args.seeds, args.out, [*args.overrides, *args.beside])
        page += markdown_beside(results, others, args.beside)
    args.table.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
