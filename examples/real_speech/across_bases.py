#!/usr/bin/env python3
"""What training changes, base by base: results of compare.py with several bases, in one table and one plot.

    python examples/real_speech/across_bases.py outputs/poor/results.json outputs/good/results.json --split vctk

It writes to --out (outputs/bases) SPLIT.md and SPLIT.png: against the PNMI of the base's k-means units, how training changes
PNMI, and by how many per cent it changes what is said of speakers, all beside Spin's own start. It wants matplotlib.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "examples" / "demo"))

from four_models import METRICS  # noqa: E402
from means import change_text, mean_and_error, mean_text  # noqa: E402

CHANGES = ("speaker_nmi_above_chance", "abx_across", "ued_formants", "ued_pitch", "speaker_accuracy_equal_width")


def values(rows, model, key):
    """-> (seeds,) array. rows: of one split of results.json."""
    return np.array([row[model][key] for row in rows], dtype=float)


def table(bases):
    """bases: {name: rows of one split} -> rows of Markdown."""
    titles = [METRICS[key][1] for key in CHANGES]
    lines = [
        f"| base | PNMI, base | PNMI, Spin | Spin - start | {' | '.join(titles)} |",
        "|---" * (4 + len(CHANGES)) + "|",
    ]
    for name, rows in bases.items():
        base, start, spin = (values(rows, model, "pnmi") for model in ("base", "start", "spin"))
        cells = [mean_text(base), mean_text(spin), mean_text(spin - start, "+")]
        cells += [change_text(values(rows, "spin", key), values(rows, "start", key)) for key in CHANGES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def plot(bases, file):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (phones, others) = plt.subplots(1, 2, figsize=(11.5, 3.6))
    places = [values(rows, "base", "pnmi").mean() for rows in bases.values()]
    gains = [mean_and_error(values(rows, "spin", "pnmi") - values(rows, "start", "pnmi")) for rows in bases.values()]
    phones.axhline(0, color="grey", linewidth=0.8)
    phones.errorbar(places, *zip(*gains), fmt="o", capsize=3)
    for name, place, (gain, _) in zip(bases, places, gains):
        phones.annotate(name, (place, gain), textcoords="offset points", xytext=(6, 5), fontsize=8)
    phones.set_ylabel("PNMI, Spin - start")
    others.axhline(0, color="grey", linewidth=0.8)
    order = np.argsort(places)
    for key in CHANGES:
        changes = [
            100 * (values(rows, "spin", key).mean() / values(rows, "start", key).mean() - 1) for rows in bases.values()
        ]
        others.plot(
            np.array(places)[order], np.array(changes)[order], "o-", label=METRICS[key][1].replace(" of units", "")
        )
    others.set_ylabel("change by training, %")
    others.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    for axes in (phones, others):
        axes.set_xlabel("PNMI of the base's k-means units")
        axes.margins(x=0.25)
    figure.tight_layout()
    figure.savefig(file, dpi=80)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/real_speech/across_bases.py RESULTS.json ... [--split dev] [--out FOLDER]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS.json", help="of compare.py, one a base")
    parser.add_argument("--split", default="dev", help="default dev")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "bases", help="default outputs/bases")
    args = parser.parse_args(argv)
    bases = {}
    for file in args.results:
        found = json.loads(file.read_text())
        if args.split not in found:
            parser.error(f"{file} has no split {args.split!r}; compare.py measures it with --test {args.split}")
        bases[Path(found["base"]).stem] = found[args.split]
    args.out.mkdir(parents=True, exist_ok=True)
    lines = table(bases)
    (args.out / f"{args.split}.md").write_text("\n".join(lines) + "\n")
    plot(bases, args.out / f"{args.split}.png")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
