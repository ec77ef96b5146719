"""Charts as plain data: traces and layout for plotly.js, which the page draws in the colours of its scheme.

A colour is the name of a CSS variable of the page, "var(--model-0)"; the page replaces it before it draws. Plotly takes
texts for a little HTML, so names that come from files are escaped here.
"""

import html
from dataclasses import dataclass, field
from collections.abc import Mapping, Sequence

import numpy as np
from .results import Model
from .results import Sweep
from .runs import Run

COLOURS = 8  # of models, and of runs, in report.css; then they repeat
HEAT_STOPS = (0, 0.1, 0.3, 0.6, 1)  # small fractions are to be seen too; report.css draws the same beside its key
LOG_TICKS = [digit * 10.0**power for power in range(-4, 2) for digit in (1, 2, 5)]
DASHES = ("dash", "dot", "dashdot", "longdash")
CURVES = (  # tag, title, what it is
    ("loss", "Loss", "swapped prediction, mean of both views"),
    ("accuracy", "Accuracy", "a view's likeliest prototype is the other's"),
    ("code_ppl", "Code perplexity", "prototypes in use, by the likeliest one of each frame"),
    ("prob_ppl", "Probability perplexity", "prototypes in use, by mean probability"),
    ("lr", "Learning rate", ""),
    ("pnmi", "PNMI", "what units say of phones, on the validation split"),
    ("cluster_purity", "Cluster purity", "fraction of a phone's frames in its likeliest unit"),
    ("phone_purity", "Phone purity", "fraction of a unit's frames of its likeliest phone"),
    ("gnorm", "Gradient norm", "before it is clipped"),
)


@dataclass
class Chart:
    """title, note: above the chart, plain text. size: "small" or "wide". traces, layout: of plotly, what JSON can hold."""

    title: str
    note: str
    size: str
    traces: list
    layout: dict = field(default_factory=dict)
    key: str = ""  # its place in the page


def colour(kind: str, index: int) -> str:
    """kind: "model" or "run"."""
    return f"var(--{kind}-{index % COLOURS})"


def number(value: float | None, digits: int = 6) -> float | None:
    """A number of JSON; None where it is not finite."""
    return float(f"{value:.{digits}g}") if value is not None and np.isfinite(value) else None


def training_charts(runs: Sequence[Run]) -> list[Chart]:
    """[Run] -> [Chart]: one for each curve that a run has; training is a line, validation is broken, with points."""
    charts = []
    for tag, title, note in CURVES:
        traces = []
        for index, run in enumerate(runs):
            # Entries of every few updates where there are some, means of epochs else.
            training = "train_inner" if tag in run.curves.get("train_inner", {}) else "train"
            validations = [split for split in run.curves if split not in ("train", "train_inner")]
            for n, split in enumerate([training, *validations]):
                if tag not in run.curves.get(split, {}):
                    continue
                updates, values = run.curves[split][tag]
                words = "training" if split == training else f"validation on {split}"
                name = words if len(runs) == 1 else f"{run.name}, {words}"
                line = {"color": colour("run", index), "width": 2}
                points = {"size": 6, "color": line["color"]}
                if split != training:
                    line["dash"] = DASHES[(n - 1) % len(DASHES)]
                mode = "lines" if split == training and len(updates) > 1 else "lines+markers"
                traces.append({"type": "scatter", "mode": mode, "x": updates, "y": values, "line": line, "marker": points,
                               "name": html.escape(name), "hovertemplate": "%{y:.4~g}"})  # fmt: skip
        if traces:
            charts.append(Chart(title, note, "small", traces, {"xaxis": {"title": {"text": "updates"}}}))
    return charts


def phone_order(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, K) -> indices of the phones that occur, the most frequent first; of the units in use, by likeliest phone.

    As in the metrics of HuBERT (Hsu et al. 2021) and Spin (Chang et al. 2023): units of one phone stand together, those
    that say it most surely first.
    """
    frequency = counts.sum(1)
    phones = np.argsort(-frequency, kind="stable")
    phones = phones[frequency[phones] > 0]
    used = np.flatnonzero(counts.sum(0) > 0)
    if not len(used):
        return phones, used
    table = counts[np.ix_(phones, used)] / counts[:, used].sum(0)
    units = used[np.lexsort((-table.max(0), table.argmax(0)))]
    return phones, units


def heat_map(label: str, counts: np.ndarray, names: Sequence[str]) -> Chart | None:
    """P(phone | unit) of one model -> Chart, or None where nothing is counted. counts (P, K), names: of phones."""
    phones, units = phone_order(counts)
    if not len(units):
        return None
    fractions = 100 * counts[np.ix_(phones, units)] / counts[:, units].sum(0)
    trace = {
        "type": "heatmap",
        "z": [[round(float(value), 1) or 0 for value in row] for row in fractions],  # 0 is shorter than 0.0
        "x": [f"unit {unit}" for unit in units],
        "y": [html.escape(names[phone]) for phone in phones],
        "zmin": 0,
        "zmax": 100,
        "colorscale": [[stop, f"var(--heat-{n})"] for n, stop in enumerate(HEAT_STOPS)],
        "showscale": False,
        "hovertemplate": "%{y} in %{x}: %{z} %<extra></extra>",
    }
    layout = {
        "height": 40 + 11 * len(phones),
        "hovermode": "closest",
        "xaxis": {"type": "category", "showticklabels": False, "showgrid": False, "ticks": "",
                  "title": {"text": "units, by their likeliest phone"}},
        "yaxis": {"type": "category", "autorange": "reversed", "tickmode": "linear", "dtick": 1, "showgrid": False,
                  "tickfont": {"size": 9}, "ticks": ""},
    }  # fmt: skip
    return Chart(label, f"{len(units)} units, {len(phones)} phones", "wide", [trace], layout)


def codebook_chart(models: Sequence[tuple[int, str, Mapping[int, int]]]) -> Chart | None:
    """How often each unit is used. models: [(index, label, {unit: frames})] -> Chart, or None."""
    traces = []
    for index, label, frames in models:
        order = sorted(frames, key=lambda unit: (-frames[unit], unit))
        total = sum(frames.values())
        if total:
            traces.append({
                "type": "scatter", "mode": "lines", "name": html.escape(label), "line": {"color": colour("model", index), "width": 2},
                "x": list(range(1, len(order) + 1)), "y": [number(100 * frames[unit] / total, 4) for unit in order],
                "hovertemplate": "%{y:.3~g} %",
            })  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "units, the most used first"}},
        "yaxis": {"type": "log", "ticksuffix": " %", "tickvals": LOG_TICKS},
    }
    note = "fraction of all frames; a flat line that ends at K is a codebook in full, even use"
    return Chart("Use of the codebook", note, "wide", traces, layout) if traces else None


def layer_charts(
    sweeps: Sequence[tuple[int | None, str, Sweep]], models: Sequence[tuple[int, Model]],
    titles: Mapping[str, tuple[str, str]],
) -> list[Chart]:  # fmt: skip
    """Metrics of an encoder's layers, one Chart a metric, the chosen layer with a larger point; other models as level lines.

    sweeps: [(index of the model that was made of the best layer, or None, label, Sweep)]; models: [(index, Model)];
    titles: {key: (group, title)}.
    """
    charts = []
    highest = max((layer for _, _, sweep in sweeps for layer, _ in sweep.layers), default=1)
    for key in dict.fromkeys(key for _, _, sweep in sweeps for _, metrics in sweep.layers for key in metrics):
        group, title = titles.get(key, ("", key.replace("_", " ")))
        traces = []
        for n, (index, label, sweep) in enumerate(sweeps):
            own = colour("run", n) if index is None else colour("model", index)
            chosen = dict(models)[index].layer if index is not None else None
            sizes = [11 if layer == chosen else 6 for layer, _ in sweep.layers]
            traces.append({
                "type": "scatter", "mode": "lines+markers", "name": html.escape(label), "line": {"color": own, "width": 2},
                "marker": {"size": sizes, "color": own, "opacity": 1, "line": {"width": 0}},
                "x": [layer for layer, _ in sweep.layers],
                "y": [number(metrics.get(key)) for _, metrics in sweep.layers], "hovertemplate": "%{y:.3f}",
            })  # fmt: skip
        for index, model in models:
            found = model.metrics.get(group, {}).get(key)
            if (model.layer is None or model.kind == "spin") and found is not None and found.value is not None:
                traces.append({
                    "type": "scatter", "mode": "lines", "name": html.escape(model.label),
                    "line": {"color": colour("model", index), "width": 2, "dash": "dot"},
                    "x": [1, highest], "y": [number(found.value)] * 2, "hovertemplate": "%{y:.3f}",
                })  # fmt: skip
        axis = {"title": {"text": "layer"}, "tickmode": "linear", "tick0": 1, "dtick": max(1, round(highest / 12))}
        charts.append(Chart(title, "", "small", traces, {"xaxis": axis}))
    return charts
