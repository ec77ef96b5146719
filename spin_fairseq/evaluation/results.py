"""The results of an evaluation as files: results.json, results.csv, results.md, and layers.png where layers were compared."""

import csv
import io
import json
from pathlib import Path
from typing import Any
from collections.abc import Sequence

from ..errors import EvaluationError
from ..files import write_bytes, write_text
from .groups import METRICS, GROUPS

COLUMNS = (
    "model",
    "kind",
    "features",
    "layer",
    "clusters",
    "group",
    "metric",
    "value",
    "low",
    "high",
    "unit",
    "better",
)
KINDS = {"spin": "Spin", "kmeans": "k-means"}
MOST_PAIRS = 3  # columns of the table of differences
ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


def write(folder: str | Path, content: dict[str, Any]) -> None:
    """content: what results.json holds; the other files are made of it, when it is finished."""
    folder = Path(folder)
    if content["finished"]:
        write_text(folder / "results.csv", csv_text(content), EvaluationError)
        write_text(folder / "results.md", markdown(content), EvaluationError)
        picture = curves(content["layers"])
        if picture:
            write_bytes(folder / "layers.png", picture, EvaluationError)
    write_text(folder / "results.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n", EvaluationError)


def csv_text(content: dict[str, Any]) -> str:
    """A row for each metric of each model; empty where it is undefined."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    for model in content["models"]:
        about = [model[key] for key in ("name", "kind", "features", "layer", "clusters")]
        for name, metrics in model["metrics"].items():
            for key, cell in metrics.items():
                metric = METRICS[name, key]
                rows.writerow([*about, name, key, cell["value"], cell["low"], cell["high"], metric.unit, metric.better])
    return file.getvalue()


def markdown(content: dict[str, Any]) -> str:
    """The page with a table for each group."""
    data, options = content["data"], content["options"]
    lines = [
        "# Evaluation of units",
        "",
        f"    {content['command']}",
        "",
        f"{data['utterances']} utterances, {data['seconds'] / 60:.1f} minutes, {data['speakers']} speakers; "
        f"{data['labelled']} with phone labels. In brackets: {options['level']:.0%} intervals over utterances "
        f"({options['samples']:,} bootstrap resamples). ↑: more is better, ↓: less is better. "
        "What each metric is: docs/metrics.md.",
        "",
        "| model | features | layer | K | |",
        "|---|---|---|---|---|",
    ]
    for model in content["models"]:
        kind = "not read, see the errors" if "units" in model["errors"] else KINDS[model["kind"]]
        note = "; ".join(filter(None, [kind, model["note"]]))
        lines.append(
            f"| {model['name']} | {model['features']} | {model['layer'] or ''} | {model['clusters'] or ''} | {note} |"
        )
    if any(model["kind"] == "kmeans" for model in content["models"]):
        train = options["train"]
        lines += ["", "k-means is fitted on " + (f"`{'`, `'.join(train)}`." if train else "the evaluated data itself.")]
    for name in content["groups"]:
        lines += _table(content, name)
    lines += _errors(content) + _sweeps(content) + _paired(content)
    return "\n".join(lines) + "\n"


def number(value: float | None, sign: str = "") -> str:
    """Four digits that matter, at most three of them behind the point."""
    if value is None:
        return "–"
    return f"{value:{sign}.3f}" if abs(value) < 100 else f"{value:{sign}.1f}"


def cell_text(cell: dict[str, Any]) -> str:
    if cell["value"] is None or cell["low"] is None:
        return number(cell["value"])
    return f"{number(cell['value'])} [{number(cell['low'])}, {number(cell['high'])}]"


def label(name: str, key: str) -> str:
    metric = METRICS[name, key]
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{_title(metric)}{unit}{ARROWS[metric.better]}"


def _title(metric):
    return metric.title.replace("|", "\\|")


def _table(content, name):
    """A row for each metric of a group that any model has, a column for each model; below it, why metrics are missing."""
    models = [model for model in content["models"] if name in model["metrics"]]
    lines, rows, reasons = ["", f"## {GROUPS[name].title}", ""], [], {}
    for metric in GROUPS[name].metrics:
        cells = [model["metrics"][name].get(metric.key) for model in models]
        for model, cell in zip(models, cells):
            if cell and cell["value"] is None:
                reasons.setdefault(cell.get("reason", "undefined"), {}).setdefault(model["name"], []).append(
                    metric.title
                )
        if any(cell and cell["value"] is not None for cell in cells):
            rows.append(
                f"| {label(name, metric.key)} | {' | '.join(cell_text(cell) if cell else '' for cell in cells)} |"
            )
    if rows:
        lines += [
            "| | " + " | ".join(model["name"] for model in models) + " |",
            "|---" * (1 + len(models)) + "|",
            *rows,
        ]
    elif not models:
        lines.append("Not measured, see the errors below.")
    for reason, titles_of in reasons.items():
        titles = (
            "" if not rows else "; ".join(dict.fromkeys(title for titles in titles_of.values() for title in titles))
        )
        who = "" if len(titles_of) == len(models) else f" ({', '.join(titles_of)})"
        lines += [*([""] if rows else []), f"Not measured{': ' if titles else ''}{titles}{who}. Why: {reason}."]
    return lines


def _errors(content):
    rows = [(model["name"], name, text) for model in content["models"] for name, text in model["errors"].items()]
    return ["", "## Errors", "", *(f"- {model}, {name}: {text}" for model, name, text in rows)] if rows else []


def _sweeps(content):
    lines = []
    for sweep in content["layers"]:
        keys = list(sweep["layers"][0]["metrics"])
        titles = [next(_title(metric) for (_, k), metric in METRICS.items() if k == key) for key in keys]
        lines += ["", f"## Layers of {sweep['features']}, k-means, K = {sweep['clusters']}", ""]
        lines += ["| layer | " + " | ".join(titles) + " |", "|---" * (1 + len(keys)) + "|"]
        for row in sweep["layers"]:
            lines.append(f"| {row['layer']} | {' | '.join(number(row['metrics'][key]) for key in keys)} |")
    return lines


def _paired(content):
    """The differences of every two models; of many, those to the first one."""
    pairs = list(dict.fromkeys((row["a"], row["b"]) for row in content["paired"]))
    if not pairs:
        return []
    shown = pairs if len(pairs) <= MOST_PAIRS else [pair for pair in pairs if pair[0] == content["models"][0]["name"]]
    lines = [
        "", "## Differences", "",
        "Paired over the same utterances; p is two-sided, and not corrected for the number of comparisons."
        + ("" if shown == pairs else " Those of the other models are in results.json."), "",
        "| | " + " | ".join(f"{a} - {b}" for a, b in shown) + " |", "|---" * (1 + len(shown)) + "|",
    ]  # fmt: skip
    rows = {(row["group"], row["metric"], row["a"], row["b"]): row for row in content["paired"]}
    for (name, key), metric in METRICS.items():
        cells = [rows.get((name, key, *pair)) for pair in shown]
        if any(cell and (cell["difference"] or cell["low"] or cell["high"]) for cell in cells):  # not the same for all
            lines.append(f"| {_title(metric)} | " + " | ".join(map(difference_text, cells)) + " |")
    return lines


def difference_text(row: dict[str, Any] | None) -> str:
    if not row or row["difference"] is None:
        return "–"
    if not any((row["difference"], row["low"], row["high"])):
        return "0"
    text = number(row["difference"], "+")
    return (
        text
        if row["low"] is None
        else f"{text} [{number(row['low'], '+')}, {number(row['high'], '+')}], p = {row['p']:.3f}"
    )


def curves(sweeps: Sequence[dict[str, Any]]) -> bytes | None:
    """PNG of each sweep's metrics over layers; None without sweeps."""
    if not sweeps:
        return None
    from matplotlib.figure import Figure

    keys = [key for key in ("pnmi", "phone_purity", "speaker_nmi") if key in sweeps[0]["layers"][0]["metrics"]]
    picture = Figure(figsize=(3.2 * len(keys), 2.8), dpi=100)
    for axes, key in zip(picture.subplots(1, len(keys), squeeze=False)[0], keys):
        for sweep in sweeps:
            layers = [row["layer"] for row in sweep["layers"]]
            label = f"{sweep['features']}, K = {sweep['clusters']}"
            axes.plot(layers, [row["metrics"][key] for row in sweep["layers"]], marker="o", label=label)
        title = next(metric.title for (_, k), metric in METRICS.items() if k == key)
        axes.set(title=title, xlabel="layer", xticks=layers)
        axes.grid(alpha=0.3)
    axes.legend(fontsize=6)
    picture.tight_layout()
    file = io.BytesIO()
    picture.savefig(file, format="png")
    return file.getvalue()
