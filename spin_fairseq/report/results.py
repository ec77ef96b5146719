"""What spin-fairseq evaluate writes: results.json, and beside it units, counts of (phone, unit) and the manifest."""

import json
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from collections.abc import Iterator

import numpy as np

from ..errors import ConfigError

FORMAT = 2
FRAME_SECONDS = 0.02  # of units, in results that do not say it: older ones, of HuBERTs and WavLMs as published
LARGEST_JSON, LARGEST_COUNTS = 1 << 28, 1 << 30  # bytes; 30,000 units of 100 phones are 24 MB
REMEDY = "run spin-fairseq evaluate again"


@dataclass(frozen=True)
class Value:
    """A metric of a model. value: None where it is undefined, with the reason; low, high: of its interval, or None."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass
class Model:
    """One model of the comparison.

    label: its name, unique in the page; width: dimensions of its features, None where the results do not say it; units,
    counts: files, or None.
    """

    name: str
    label: str
    kind: str = ""
    spec: str = ""
    note: str = ""
    features: str = ""
    layer: int | None = None
    clusters: int | None = None
    width: int | None = None
    frame_seconds: float = FRAME_SECONDS
    metrics: dict = field(default_factory=dict)  # {group: {key: Value}}
    errors: dict = field(default_factory=dict)  # {group: message}
    seconds: dict = field(default_factory=dict)  # {group: float}
    units: Path | None = None
    counts: Path | None = None

    @property
    def about(self) -> str:
        """What it is, in words: "k-means of HuBERT, layer 9, K = 100"."""
        kind = {"kmeans": f"k-means of {self.features}", "spin": "Spin"}.get(self.kind, self.kind)
        layer = "" if self.layer is None else f"layer {self.layer}"
        clusters = "" if self.clusters is None else f"K = {self.clusters}"
        return ", ".join(filter(None, [kind, layer, clusters]))


@dataclass
class Sweep:
    """k-means of every layer of an encoder. model: the one made of its best layer; layers: [(layer, {key: number or None})]."""

    model: str
    features: str
    clusters: int | None
    layers: list


@dataclass
class Pair:
    """Two models on the same utterances: the difference a - b of a metric, its interval, and p of the paired test."""

    group: str
    metric: str
    a: str
    b: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None


@dataclass
class Results:
    """One folder. data, options, versions: as in results.json, checked to be plain; manifest, phones: files, or None."""

    name: str
    path: Path
    command: str
    finished: bool
    versions: dict
    data: dict
    options: dict
    models: list
    layers: list
    paired: list
    manifest: Path | None = None
    phones: Path | None = None


def is_results(folder: str | Path) -> bool:
    """Whether an evaluation was written there; the demo's own results.json has no format."""
    path = Path(folder) / "results.json"
    return path.is_file() and "format" in _json(path)


def read_results(folder: str | Path) -> Results:
    """-> Results. Raises ConfigError: missing, damaged, or of another format; it names file and key."""
    folder = Path(folder)
    path = folder / "results.json"
    table = _json(path)
    if table.get("format") != FORMAT:
        raise ConfigError(f"{path}: format is {_short(table.get('format'))} instead of {FORMAT}; {REMEDY}")
    data = _take(table, "data", dict, path, {})
    options = _take(table, "options", dict, path, {})
    train = _take(options, "train", list, f"{path}, options", [])
    return Results(
        name=folder.resolve().name,
        path=folder,
        command=_take(table, "command", str, path, ""),
        finished=_take(table, "finished", bool, path, False),
        versions={str(name): str(version) for name, version in _take(table, "versions", dict, path, {}).items()},
        data={
            "manifests": [str(item) for item in _take(data, "manifests", list, f"{path}, data", [])],
            **{key: number(data, key, f"{path}, data") for key in ("utterances", "labelled", "seconds", "speakers")},
        },
        options={"train": [str(item) for item in train],
                 **{key: number(options, key, f"{path}, options") for key in ("samples", "level")}},
        models=[_model(item, n, folder) for n, item in enumerate(_take(table, "models", list, path, []))],
        layers=[_sweep(item, n, path) for n, item in enumerate(_take(table, "layers", list, path, []))],
        paired=[_pair(item, n, path) for n, item in enumerate(_take(table, "paired", list, path, []))],
        manifest=_existing(folder / "data.tsv"),
        phones=_existing(folder / "phones.tsv"),
    )  # fmt: skip


def read_counts(model: Model) -> tuple[np.ndarray, list[str]] | None:
    """-> ((P, K) int64, P names) of a model, or None without the file. Raises ConfigError."""
    if model.counts is None:
        return None
    remedy = f"remove it and {REMEDY}"
    try:
        with zipfile.ZipFile(model.counts) as archive:  # before anything is unpacked
            if sum(item.file_size for item in archive.infolist()) > LARGEST_COUNTS:
                raise ConfigError(f"{model.counts}: is larger than counts of phones and units can be; {remedy}")
        with np.load(model.counts, allow_pickle=False) as file:
            counts, phones = file["counts"], file["phones"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ConfigError(f"{model.counts}: holds no counts of phones and units: {error}; {remedy}") from error
    if counts.ndim != 2 or counts.dtype.kind not in "iu" or phones.shape != counts.shape[:1] or (counts < 0).any():
        raise ConfigError(f"{model.counts}: counts are not a table of (phones, units) with a name a row; {remedy}")
    return counts.astype(np.int64), [str(phone) for phone in phones]


def read_units(path: str | Path) -> Iterator[tuple[str, list[int], list[int]]]:
    """Yield (utterance id, units without repeats, frames that each lasts) of a units/NAME.jsonl. Raises ConfigError."""
    line = 0
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for line, text in enumerate(file, start=1):  # noqa: B007  the message names the line
                row = json.loads(text)
                name, units, durations = row["id"], row["units"], row["durations"]
                whole = all(type(n) is int and 0 <= n < 1 << 31 for n in (*units, *durations))
                if not isinstance(name, str) or len(units) != len(durations) or not whole:
                    raise ValueError("id, units and durations do not fit together")
                yield name, units, durations
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path}, line {line}: cannot be read as units: {_short(error)}; remove it and {REMEDY}"
        ) from error


def number(table: dict[str, Any], key: str, where: object) -> float | None:
    """A finite number of a table of JSON, or None. Raises ConfigError."""
    value = _take(table, key, (int, float), where, None)
    try:
        return None if value is None or not math.isfinite(value) else value
    except OverflowError:
        raise ConfigError(f"{where}: {key!r} is larger than a number can be; {REMEDY}") from None


def _json(path):
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ConfigError(f"{path}: has {path.stat().st_size} bytes, which no results have; {REMEDY}")
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {_short(error)}; {REMEDY}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: holds no results; {REMEDY}")
    return table


def _short(value, longest=120):
    text = str(value) if isinstance(value, (str, Exception)) else repr(value)
    return text if len(text) <= longest else text[:longest] + " ..."


def _take(table, key, kinds, where, default):
    """table[key], which must be of one of `kinds`; `default` where it is missing or null. Raises ConfigError."""
    value = table.get(key)
    if value is None:
        return default
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        words = " or ".join(kind.__name__ for kind in kinds)
        raise ConfigError(f"{where}: {key!r} is {_short(value)}, which is no {words}; {REMEDY}")
    return value


def _row(item, where):
    if not isinstance(item, dict):
        raise ConfigError(f"{where} is {_short(item)} instead of a table; {REMEDY}")
    return item


def _model(item, n, folder):
    where = f"{folder / 'results.json'}, models[{n}]"
    name = _take(_row(item, where), "name", str, where, f"model {n + 1}")
    where = f"{where} ({name})"
    metrics = {}
    for group, values in _take(item, "metrics", dict, where, {}).items():
        of_set = f"{where}, metrics of {group}"
        metrics[group] = {key: _value(_row(value, f"{of_set}, {key}"), f"{of_set}, {key}")
                          for key, value in _row({} if values is None else values, of_set).items() if value is not None}  # fmt: skip
    return Model(
        name=name,
        label=name,
        metrics=metrics,
        errors={group: str(text) for group, text in _take(item, "errors", dict, where, {}).items()},
        seconds={group: number(item["seconds"], group, where) for group in _take(item, "seconds", dict, where, {})},
        layer=_take(item, "layer", int, where, None),
        clusters=_take(item, "clusters", int, where, None),
        width=_take(item, "width", int, where, None),
        frame_seconds=number(item, "frame_seconds", where) or FRAME_SECONDS,
        units=_inside(folder, _take(item, "units", str, where, None), where),
        counts=_inside(folder, _take(item, "counts", str, where, None), where),
        **{key: _take(item, key, str, where, "") for key in ("kind", "spec", "note", "features")},
    )


def _value(item, where):
    value, low, high = (number(item, key, where) for key in ("value", "low", "high"))
    return Value(
        value, *((low, high) if None not in (low, high) else (None, None)), _take(item, "reason", str, where, "")
    )


def _sweep(item, n, path):
    where = f"{path}, layers[{n}]"
    layers = []
    for row in _take(_row(item, where), "layers", list, where, []):
        metrics = _take(_row(row, where), "metrics", dict, where, {})
        layer = _take(row, "layer", int, where, None)
        if layer is not None:
            layers.append((layer, {key: number(metrics, key, where) for key in metrics}))
    names = (_take(item, key, str, where, "") for key in ("model", "features"))
    return Sweep(*names, _take(item, "clusters", int, where, None), sorted(layers, key=lambda row: row[0]))


def _pair(item, n, path):
    where = f"{path}, paired[{n}]"
    _row(item, where)
    return Pair(
        **{key: _take(item, key, str, where, "") for key in ("group", "metric", "a", "b")},
        **{key: number(item, key, where) for key in ("difference", "low", "high", "p")},
    )


def _inside(folder, name, where):
    """A file below the folder, None where it is not there. results.json may come from anybody: it reaches nothing else."""
    if name is None:
        return None
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ConfigError(f"{where}: {name!r} is outside the folder of the results; {REMEDY}")
    return _existing(path)


def _existing(path):
    return path if path.is_file() else None
