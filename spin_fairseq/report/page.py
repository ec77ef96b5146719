"""Everything about trainings and evaluations in one HTML file that needs no other, and no network."""

import logging
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any
from collections.abc import Sequence

from ..speech.audio import audio_info
from ..speech.folder import manifest_of
from ..speech.phone_labels import load_phone_labels
from ..errors import AudioError, ConfigError, SpinError
from ..files import write_bytes
from ..evaluation.results import number
from ..evaluation.groups import GROUPS
from . import charts, colouring
from .comparison import compare, headed, opening
from .results import Model, Results, is_results, read_counts, read_results, read_units
from .runs import Run, is_run, read_run
from .utterances import phone_strip, read_utterances, spread_over_speakers, unit_strip

LEFT_BY_EVALUATION = ("parts", "cache", "centroids")  # names in a folder of spin-fairseq evaluate
EVALUATE_AGAIN = "Look at its error, mend it and give the same command again: spin-fairseq evaluate ... --out {}"
MOST_NAMED = 5  # failures, in a message

logger = logging.getLogger(__name__)

VOICE = 6  # a draw whose formants, pitch and pitch range all move, by a middling amount


def read_sources(paths: Sequence[str | Path]) -> tuple[list[Run], list[Results]]:
    """Folders of trainings or evaluations -> ([Run], [Results]); one folder may be both. Raises ConfigError."""
    runs, results = [], []
    for path in map(Path, paths):
        if not path.is_dir():
            raise ConfigError(
                f"{path}: no such folder; give folders of trainings, or what spin-fairseq evaluate --out wrote. An evaluation "
                "that failed before its first result has written none: look at its error, mend it and evaluate again"
            )
        of_run, of_results = is_run(path), is_results(path)
        if not of_run and not of_results:
            if any((path / name).exists() for name in LEFT_BY_EVALUATION):
                raise ConfigError(
                    f"{path}: an evaluation began here and wrote no results.json: it failed or was stopped before its first "
                    f"result. {EVALUATE_AGAIN.format(path)}"
                )
            raise ConfigError(
                f"{path}: neither a training (it has no .hydra/ or tensorboard/) nor an evaluation (it has no results.json "
                "of spin-fairseq evaluate)"
            )
        if of_run:
            runs.append(read_run(path))
        if of_results:
            results.append(read_results(path))
            _tell_failures(results[-1])
    _tell_apart(runs, "name", [run.path for run in runs])
    models = [model for one in results for model in one.models]
    _tell_apart(models, "label", [one.path for one in results for _ in one.models])
    return runs, results


def _tell_failures(one):
    """Warn of what an evaluation could not measure, or has not yet. Raises ConfigError: it has measured nothing."""
    failed = [(model.name, group, error) for model in one.models for group, error in model.errors.items()]
    words = "".join(f"\n  {name}, {group}: {error}" for name, group, error in failed[:MOST_NAMED])
    if len(failed) > MOST_NAMED:
        words += f"\n  and {len(failed) - MOST_NAMED} more, in {one.path / 'results.json'}"
    again = (
        EVALUATE_AGAIN.format(one.path)
        if not one.command
        else (f"{'Mend this' if failed else 'It goes on where it stopped'}: give its command again: {one.command}")
    )
    if not any(model.metrics for model in one.models):
        raise ConfigError(
            f"{one.path}: the evaluation has measured nothing{' yet' * (not one.finished)}.{words}\n{again}"
        )
    if failed:
        logger.warning(f"{one.path}: the evaluation could not measure all; the page has the rest.{words}\n  {again}")
    elif not one.finished:
        logger.warning(f"{one.path}: the evaluation is not finished; the page has what is there. {again}")


def _tell_apart(items, attribute, paths):
    """Where several have one name: the folder is added to it, then a number."""
    for numbered in (False, True):
        counts = Counter(getattr(item, attribute) for item in items)
        seen = Counter()
        for item, path in zip(items, paths):
            name = getattr(item, attribute)
            seen[name] += 1
            if counts[name] > 1:
                words = (
                    f"{name} ({seen[name]})"
                    if numbered
                    else f"{name} ({path.resolve().parent.name}/{path.resolve().name})"
                )
                setattr(item, attribute, words)


class Units:
    """What one pass over a model's units and counts gives. usage: {unit: frames}; rows: {utterance: (units, durations)}."""

    def __init__(self, model: Model, wanted: set[str]):
        self.counted = read_counts(model)
        self.looks = colouring.of_units(*self.counted) if self.counted else {}
        self.usage, self.rows = Counter(), {}
        for name, units, durations in read_units(model.units) if model.units else ():
            for unit, frames in zip(units, durations):
                self.usage[unit] += frames
            if name in wanted:
                self.rows[name] = units, durations


def gather(
    runs: Sequence[Run], results: Sequence[Results], *, utterances: int = 6, seconds: float = 8.0, seed: int = VOICE
) -> dict[str, Any]:
    """What the template shows, as a dict. utterances: at most so many; seconds: of each; seed: of the perturbed voice."""
    models = [model for one in results for model in one.models]
    notes = []
    source, manifest, rows = _choose(results, utterances, notes)
    wanted = {manifest.utterance_id(row) for row in rows}
    units = [Units(model, wanted) for model in models]
    phones = _labels(source, notes)

    def strips(name, length):
        found = []
        if phones is not None and name in phones:
            found.append(phone_strip([phones.symbols[phone] for phone in phones[name]], length))
        for index, (model, of_model) in enumerate(zip(models, units)):
            if name in of_model.rows:
                found.append(
                    unit_strip(model.label, index, *of_model.rows[name], model.frame_seconds, length, of_model.looks)
                )
        return found

    shown = []
    if rows:
        shown, left_out = read_utterances(manifest, rows, seconds, seed, strips)
        notes += left_out
    heat_maps = [
        charts.heat_map(model.label, *of_model.counted) for model, of_model in zip(models, units) if of_model.counted
    ]
    sweeps = _sweeps(results, models)
    titles = {metric.key: (name, headed(metric.title)) for name, one in GROUPS.items() for metric in one.metrics}
    level = [
        ("model", index, model.label)
        for index, model in enumerate(models)
        if model.layer is None or model.kind == "spin"
    ]
    groups = compare(models, GROUPS)
    return {
        "runs": runs,
        "results": results,
        "models": models,
        "opening": opening(groups),
        "groups": groups,
        "paired": _paired(results),
        "training": charts.training_charts(runs),
        "heat_maps": [chart for chart in heat_maps if chart],
        "codebook": charts.codebook_chart([(n, model.label, of_model.usage) for n, (model, of_model) in enumerate(zip(models, units))]),
        "layers": charts.layer_charts(sweeps, list(enumerate(models)), titles),
        "utterances": shown,
        "utterance_notes": notes,
        # Of colours: (palette, number, what has it).
        "run_legend": [("run", index, run.name) for index, run in enumerate(runs)],
        "model_legend": [("model", index, model.label) for index, model in enumerate(models)],
        "layer_legend": [("run" if index is None else "model", n if index is None else index, label)
                         for n, (index, label, _) in enumerate(sweeps)] + level,
    }  # fmt: skip


def _sweeps(results, models):
    """[(index of the model made of the best layer, or None, label, Sweep)]."""
    found = []
    for one in results:
        index = {model.name: n for n, model in enumerate(models) if any(model is own for own in one.models)}
        found += [(index.get(sweep.model), f"{sweep.features}, K = {sweep.clusters}", sweep) for sweep in one.layers]
    return found


def _choose(results, count, notes):
    """-> the results whose audio is shown, their manifest, and rows of it; (None, None, []) with a note where there is none."""
    for one in results if count else ():
        if one.manifest is None:
            notes.append(f"{one.name}: has no data.tsv, so its audio is not known.")
            continue
        try:
            manifest = manifest_of(one.manifest)
        except SpinError as error:
            notes.append(f"{one.name}: {error}")
            continue
        rows = spread_over_speakers(manifest, count)
        problems = [_problem(manifest.path(row)) for row in rows]
        if not all(problems):
            return one, manifest, rows
        notes.append(f"{one.name}: there is nothing to hear. {problems[0]}")
    return None, None, []


def _problem(path):
    """Why a file cannot be heard; "" if it can."""
    try:
        audio_info(path)
    except AudioError as error:
        return str(error)
    return ""


def _labels(results, notes):
    """PhoneLabels of some results, or None."""
    if results is None or results.phones is None:
        return None
    try:
        return load_phone_labels(results.phones.parent, results.phones.stem)
    except SpinError as error:
        notes.append(str(error))
        return None


def _paired(results):
    """[(columns, rows)], one for each results with tests: (a, b) names, and (title of a metric, Pair or None a column)."""
    titles = {(name, metric.key): headed(metric.title) for name, one in GROUPS.items() for metric in one.metrics}
    tables = []
    for one in results:
        tests = [pair for pair in one.paired if pair.difference is not None]
        columns = list(dict.fromkeys((pair.a, pair.b) for pair in tests))
        rows = {}
        for pair in tests:
            row = rows.setdefault((pair.group, pair.metric), [None] * len(columns))
            row[columns.index((pair.a, pair.b))] = pair
        if rows:
            tables.append((columns, [(titles.get(key, key[1]), row) for key, row in rows.items()]))
    return tables


def render(content: dict[str, Any]) -> str:
    """What `gather` returns -> the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    drawn = [*content["heat_maps"], *content["training"], *content["layers"], *filter(None, [content["codebook"]])]
    for n, chart in enumerate(drawn):
        chart.key = f"chart-{n}"
    folder = files(__package__) / "templates"
    return environment.get_template("report.html").render(
        **content,
        number=number,
        colours=charts.COLOURS,
        css=Markup((folder / "report.css").read_text("utf-8")),
        js=Markup((folder / "report.js").read_text("utf-8")),
        plotly=Markup(get_plotlyjs()) if drawn else "",
        sections=_sections(content),
        charts={chart.key: {"traces": chart.traces, "layout": chart.layout} for chart in drawn},
    )


def _sections(content):
    """(anchor, heading) of what there is to show."""
    there = {
        "comparison": ("Comparison", content["groups"]),
        "units": ("Units and phones", content["models"]),
        "layers": ("Layers", content["layers"]),
        "utterances": ("Utterances", content["utterances"] or content["utterance_notes"]),
        "training": ("Training", content["runs"]),
        "record": ("What was run", True),
    }
    return [(key, words) for key, (words, wanted) in there.items() if wanted]


def _summary(runs, results):
    """One sentence on what the page is about."""
    parts = []
    for one in results:
        speech = [f"{one.data[key]:.0f} {key}" for key in ("utterances", "speakers") if one.data[key] is not None]
        if one.data["seconds"] is not None:
            speech.append(f"{one.data['seconds'] / 60:.1f} minutes")
        count = len(one.models)
        parts.append(f"{count} model{'s' * (count != 1)}" + (f" on {', '.join(speech)}" if speech else ""))
    parts += [f"training {run.name}, {run.updates} updates" for run in runs]
    return "; ".join(parts) + "."


def write_report(
    paths: Sequence[str | Path], out: str | Path, *, title: str = "Speech units", command: str = "", **options: Any
) -> dict[str, Any]:
    """Read folders of trainings and evaluations, write the page; -> what it holds, as of `gather`.

    out: the file; options: of `gather`. command: what the page says made it. Raises SpinError.
    """
    runs, results = read_sources(paths)
    summary = _summary(runs, results)
    content = {**gather(runs, results, **options), "title": title, "summary": summary, "made_by": command}
    write_bytes(out, render(content).encode("utf-8", "replace"), ConfigError)
    return content
