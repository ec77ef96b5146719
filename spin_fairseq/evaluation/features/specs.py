"""The forms that MODEL may take on the command line.

CHECKPOINT[:codebook=I]                     a Spin model
FEATURES+kmeans[:layer=L][:k=K]             k-means; FEATURES is `mfcc`, or the checkpoint of an encoder
NAME=...                                    either, under a name of its own
"""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from collections.abc import Sequence

from ...errors import ConfigError

GRAMMAR = "CHECKPOINT[:codebook=I], FEATURES+kmeans[:layer=L][:k=K] with FEATURES mfcc or a checkpoint, or NAME=either"
MFCC = "mfcc"
_NAME = r"[A-Za-z0-9_][\w.-]*"
_NAMED = re.compile(rf"({_NAME})=(.+)", re.S)


@dataclass(frozen=True)
class ModelSpec:
    """kind: "spin" or "kmeans". layer: None is the best one. clusters: None for Spin, whose checkpoint knows."""

    name: str
    text: str
    kind: str
    source: str
    layer: int | None = None
    clusters: int | None = None
    codebook: int = 0


def parse_spec(text: str, clusters: int = 100) -> ModelSpec:
    """-> ModelSpec. clusters: of k-means, where none are given. Raises ConfigError."""
    named = None if os.path.exists(text) else _NAMED.fullmatch(text)
    name, rest = (named[1], named[2]) if named else (None, text)
    source, plus, options = rest.rpartition("+kmeans")
    if plus and (not options or options.startswith(":")):
        kind, known = "kmeans", {"layer": None, "k": clusters}
        numbers = _options(text, options.split(":")[1:], known)
        spec = ModelSpec("", text, kind, source, numbers["layer"], numbers["k"])
    else:
        found = re.fullmatch(r"(.+?)((?::[a-z]+=[^:]*)*)", rest, re.S)
        if not found:
            raise ConfigError(f"{text!r}: is no model; {GRAMMAR}")
        numbers = _options(text, found[2].split(":")[1:], {"codebook": 0})
        spec = ModelSpec("", text, "spin", found[1], codebook=numbers["codebook"])
    if not spec.source:
        raise ConfigError(f"{text!r}: nothing stands before +kmeans; {GRAMMAR}")
    if spec.source == MFCC and (spec.kind == "spin" or spec.layer is not None):
        raise ConfigError(f"{text!r}: MFCCs have no layers and no codebook; mfcc+kmeans:k={clusters}")
    if spec.clusters is not None and spec.clusters < 2:
        raise ConfigError(f"{text!r}: k is {spec.clusters}; k-means here needs at least 2 clusters")
    return replace(spec, name=name or _name_of(spec))


def parse_specs(texts: Sequence[str], clusters: int = 100) -> list[ModelSpec]:
    """-> a list of ModelSpecs whose names differ. Raises ConfigError."""
    specs = [parse_spec(text, clusters) for text in texts]
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):  # checkpoint_last.pt of two runs: the folder tells them apart
        specs = [
            replace(spec, name=f"{_safe(Path(spec.source).resolve().parent.name)}-{spec.name}")
            if names.count(spec.name) > 1 and not spec.text.startswith(spec.name + "=") else spec
            for spec in specs
        ]  # fmt: skip
        names = [spec.name for spec in specs]
    for spec in specs:
        if names.count(spec.name) > 1:
            raise ConfigError(f"{spec.text!r}: two models have the name {spec.name!r}; write NAME={spec.text}")
    return specs


def _options(text, items, known):
    numbers = dict(known)
    for item in items:
        key, _, value = item.partition("=")
        if key not in known or not re.fullmatch(r"\d{1,9}", value):
            raise ConfigError(f"{text!r}: {item!r} is not one of {', '.join(f'{k}=NUMBER' for k in known)}; {GRAMMAR}")
        numbers[key] = int(value)
    return numbers


def _safe(name):
    return re.sub(r"[^\w.-]", "-", name).lstrip(".-") or "model"


def _name_of(spec):
    stem = MFCC if spec.source == MFCC else _safe(Path(spec.source).stem)
    if spec.kind == "kmeans":
        return f"{stem}-l{spec.layer}-k{spec.clusters}" if spec.layer else f"{stem}-k{spec.clusters}"
    return f"{stem}-codebook{spec.codebook}" if spec.codebook else stem
