#!/usr/bin/env python3
"""MFCC k-means, base k-means and Spin at several sizes of the codebook, by every metric of `spin-fairseq evaluate`.

    python examples/demo/compare_codebooks.py --clusters 50 100 200

Runs run_demo.py for each size (where its evaluation is not there yet) and writes a table for each to --page
(examples/demo/EVALUATION.md), with the difference Spin - base and its paired test.
"""

import argparse
import json
from pathlib import Path

from run_demo import HERE, REPOSITORY
from run_demo import main as run_demo

from spin_fairseq.evaluation.results import cell_text, difference_text, label, number
from spin_fairseq.evaluation.groups import GROUPS

MODELS = ("mfcc", "base", "spin")


def section(content):
    """Lines of Markdown of one size. content: of results.json."""
    models = {model["name"]: model for model in content["models"]}
    differences = {
        (row["group"], row["metric"]): row for row in content["paired"] if (row["a"], row["b"]) == ("base", "spin")
    }
    lines = [
        "",
        f"## K = {models['spin']['clusters']}",
        "",
        f"| | MFCC, k-means | base, k-means of layer {models['base']['layer']} | Spin | base - Spin |",
        "|---|---|---|---|---|",
    ]
    for name in content["groups"]:
        for metric in GROUPS[name].metrics:
            cells = [models[model]["metrics"].get(name, {}).get(metric.key) for model in MODELS]
            if all(cell is None or cell["value"] is None for cell in cells):
                continue
            texts = [cell_text(cell) if cell else "–" for cell in cells]
            lines.append(
                f"| {' | '.join([label(name, metric.key), *texts, difference_text(differences.get((name, metric.key)))])} |"
            )
    return lines


def layer_lines(contents):
    """PNMI and speaker NMI of the base's layers, a row for each size."""
    sweeps = [content["layers"][0] for content in contents]
    layers = [row["layer"] for row in sweeps[0]["layers"]]
    lines = ["", "## Layers of the base", "", "PNMI / speaker NMI of k-means units.", ""]
    lines += ["| K | " + " | ".join(f"layer {layer}" for layer in layers) + " |", "|---" * (1 + len(layers)) + "|"]
    for sweep in sweeps:
        cells = (
            f"{number(row['metrics']['pnmi'])} / {number(row['metrics']['speaker_nmi'])}" for row in sweep["layers"]
        )
        lines.append(f"| {sweep['clusters']} | {' | '.join(cells)} |")
    return lines


def page(contents, command):
    """EVALUATION.md. contents: of results.json, one for each size."""
    data, options = contents[0]["data"], contents[0]["options"]
    lines = [
        "# The demo by every metric",
        "",
        f"    {command}",
        "",
        f"The dev split of `examples/demo/natural` ({data['utterances']} utterances, {data['seconds'] / 60:.1f} minutes, "
        f"{data['speakers']} speakers), one seed; [RESULTS.md](RESULTS.md) has several. In brackets: {options['level']:.0%} "
        "intervals over utterances (over speakers for ABX); differences are paired, p is two-sided and not corrected for the "
        "number of comparisons. ↑: more is better, ↓: less is better. [What each metric is](../../docs/metrics.md). The base's "
        "layer is the one whose units have the highest PNMI on this split, which is to the base's favour. ABX needs the same "
        "triphones again and again, of which so few minutes have but a handful: its intervals are wide.",
    ]
    for content in contents:
        lines += section(content)
    return "\n".join(lines + layer_lines(contents)) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/demo/compare_codebooks.py --clusters 50 100 200 [--seed N]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clusters", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "outputs", help="folder for the runs (default outputs)"
    )
    parser.add_argument("--page", type=Path, default=HERE / "EVALUATION.md")
    args = parser.parse_args(argv)
    contents = []
    for clusters in args.clusters:
        folder = args.out / f"demo_codebook_{clusters}"
        results = folder / "evaluation" / "results.json"
        if not (folder / "results.json").exists():
            run_demo(["--out", str(folder), "--seed", str(args.seed), f"model.codebook_sizes=[{clusters}]"])
        contents.append(json.loads(results.read_text()))
    sizes = " ".join(map(str, args.clusters))
    text = page(contents, f"python examples/demo/compare_codebooks.py --clusters {sizes} --seed {args.seed}")
    args.page.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
