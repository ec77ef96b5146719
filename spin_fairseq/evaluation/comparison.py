"""Several models on a corpus, from paths and names to results: what `spin-fairseq evaluate` calls."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from collections.abc import Sequence

from .. import __version__
from ..errors import ConfigError
from ..files import remove
from .corpus import load_corpus
from .features.cache import FeatureCache
from .features.specs import parse_specs
from .runner import Evaluation

WRITTEN = ("parts", "centroids", "cache", "units", "counts", "results.json", "results.csv", "results.md", "layers.png")
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")


def compare(
    models: Sequence[str], data: Sequence[str], out: str | Path, *, groups: Sequence[str], phones: Sequence[str] = (),
    train: Sequence[str] = (), clusters: int = 100, cache: str | Path | None = None, cache_gb: float = 10.0,
    cache_dtype: str = "float32", device: str = "cpu", threads: int = 1, anew: bool = False, progress: bool = False, command: str = "", **options,
) -> list[str]:  # fmt: skip
    """Measure what is not there yet in the folder `out`, and write results.json, results.csv and results.md into it.

    models: as `features.specs.parse_specs` takes them.
    data, phones, train: manifests, phone labels, and what k-means is fitted on; of `data` where empty.
    groups: names of metric groups, of `groups.GROUPS`.
    cache: folder of features, by default in `out`.
    threads: that decode audio.
    anew: remove what an earlier run wrote into `out`, when models, data and folder are known to be usable.
    options: further ones of `runner.Evaluation`.
    Returns the names of the models of which something could not be measured; results.md says why.
    Raises SpinError: the models, the data or the folder cannot be used.
    """
    out = Path(out)
    specs = parse_specs(models, clusters)
    corpus = load_corpus(data, phones)
    fitted_on = load_corpus(train) if train else None
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror or error}); choose another --out") from error
    if anew:
        remove(out / name for name in WRITTEN)
    features = FeatureCache(cache or out / "cache", cache_gb * 1e9, cache_dtype, device, threads, progress=progress)
    versions = {"spin_fairseq": __version__, **{name: metadata.version(name) for name in PACKAGES}}
    evaluation = Evaluation(
        out, corpus, specs, groups, features, train=fitted_on, about={"command": command, "versions": versions},
        progress=progress, **options,
    )  # fmt: skip
    evaluation.run()
    return [model["name"] for model in evaluation.models if model["errors"]]


def separate(texts: Sequence[str]) -> list[str]:
    """Paths that may have commas between them -> a list; a file whose name has a comma stays one."""
    return [path for text in texts for path in ([text] if os.path.exists(text) else text.split(","))]
