"""Metrics of all models side by side: what the page's table and bars show."""

from dataclasses import dataclass
from collections.abc import Mapping, Sequence

from ..evaluation.results import number
from ..evaluation.groups import MetricGroup
from .results import Model

NOTHING = number(None)
# What a comparison of unit encoders is about, before all else: (group, metrics).
# Of several metrics, the one that most models have: evaluations of older versions have no speaker NMI above chance.
PHONES_AND_SPEAKERS = (
    ("phones", ("pnmi",)), ("phones", ("phone_purity",)), ("speakers", ("speaker_nmi_above_chance", "speaker_nmi")),
    ("speakers", ("speaker_accuracy",)),
)  # fmt: skip
GROWS_WITH_WIDTH = {("speakers", "speaker_accuracy"), ("speakers", "utterance_speaker_accuracy")}  # of the features


@dataclass
class Cell:
    """A metric of one model. text: "0.431"; interval: "0.42 to 0.44" or ""; left, width, low, high: of its bar, per cent.

    best: no model has a better value, and one a worse. reason: why there is none. note: what else is to be said of it.
    """

    model: int
    text: str
    interval: str = ""
    reason: str = ""
    note: str = ""
    best: bool = False
    left: float = 0.0
    width: float = 0.0
    low: float | None = None
    high: float | None = None


@dataclass
class Row:
    """One metric. title, better, definition, source, unit, chance: as in evaluation.metrics; cells: one a model.

    compares: whether the models' values compare. Those of GROWS_WITH_WIDTH do where all features are known to be equally wide.
    """

    key: str
    title: str
    better: str
    definition: str
    source: str
    unit: str
    chance: str
    cells: list
    compares: bool = True


@dataclass
class Group:
    """A group of metrics. rows: those that a model has; missing: {reason: titles of metrics that none has}.

    errors: [(index of a model, why it could not be measured)].
    """

    key: str
    title: str
    rows: list
    missing: dict
    errors: list


def compare(models: Sequence[Model], known_groups: Mapping[str, MetricGroup]) -> list[Group]:
    """[Model], `evaluation.groups.GROUPS` -> [Group]. A metric that is not in `known_groups` keeps its key as its title."""
    found = dict.fromkeys(name for model in models for name in (*model.metrics, *model.errors))
    groups = []
    for name in [
        *(name for name in known_groups if name in found),
        *(name for name in found if name not in known_groups),
    ]:
        known = {metric.key: metric for metric in known_groups[name].metrics} if name in known_groups else {}
        here = dict.fromkeys(key for model in models for key in model.metrics.get(name, {}))
        keys = [*(key for key in known if key in here), *(key for key in here if key not in known)]
        rows, missing = [], {}
        for row in (_row(name, key, models, known.get(key)) for key in keys):
            if all(cell.text == NOTHING for cell in row.cells):
                reasons = dict.fromkeys(cell.reason for cell in row.cells if cell.reason)
                missing.setdefault("; ".join(reasons), []).append(row.title)
            else:
                rows.append(row)
        errors = [(index, model.errors[name]) for index, model in enumerate(models) if name in model.errors]
        title = known_groups[name].title if name in known_groups else name.replace("_", " ")
        groups.append(Group(name, title, rows, missing, errors))
    return groups


def opening(groups: Sequence[Group]) -> list[Row]:
    """[Group] -> the Rows of PHONES_AND_SPEAKERS that compare; [] unless phones and speakers were measured, of two models or more."""
    rows = {(group.key, row.key): row for group in groups for row in group.rows if row.compares}
    found = []
    for name, keys in PHONES_AND_SPEAKERS:
        there = [rows[name, key] for key in keys if (name, key) in rows]
        if there:  # the first of those that as many models have
            found.append((name, max(there, key=lambda row: sum(cell.text != NOTHING for cell in row.cells))))
    compared = len({name for name, _ in found}) == 2 and len(found[0][1].cells) > 1
    return [row for _, row in found] if compared else []


def _row(group, key, models, metric):
    values = [model.metrics.get(group, {}).get(key) for model in models]
    numbers = [value.value for value in values if value is not None and value.value is not None]
    ends = [end for value in values if value is not None for end in (value.low, value.high) if end is not None]
    lowest, highest = min([0.0, *numbers, *ends]), max([0.0, *numbers, *ends])
    span = (highest - lowest) or 1.0
    better = metric.better if metric else ""
    goal = {"higher": max, "lower": min}.get(better)
    widths = [model.width for model, value in zip(models, values) if value is not None and value.value is not None]
    compares = (
        (group, key) not in GROWS_WITH_WIDTH or len(widths) < 2 or (len(set(widths)) == 1 and widths[0] is not None)
    )

    def place(value):
        return round(100 * (value - lowest) / span, 2)

    cells = []
    for index, value in enumerate(values):
        if value is None or value.value is None:
            cells.append(Cell(index, NOTHING, reason=value.reason or "undefined" if value else ""))
            continue
        zero, end = sorted((place(0.0), place(value.value)))
        known_interval = value.low is not None
        cells.append(Cell(
            index, number(value.value),
            interval=f"{number(value.low)} to {number(value.high)}" if known_interval else "",
            reason=value.reason,
            note="" if compares or models[index].width is None else f"of {models[index].width} dimensions",
            best=compares and bool(goal) and value.value == goal(numbers) and len(set(map(number, numbers))) > 1,
            left=zero, width=round(end - zero, 2),
            low=place(value.low) if known_interval else None, high=place(value.high) if known_interval else None,
        ))  # fmt: skip
    if metric is None:
        return Row(key, headed(key.replace("_", " ")), "", "", "", "", "", cells, compares)
    return Row(
        key, headed(metric.title), better, metric.definition, metric.source, metric.unit, metric.chance, cells, compares
    )  # fmt: skip


def headed(title: str) -> str:
    """As a heading: with a capital."""
    return title[:1].upper() + title[1:]
