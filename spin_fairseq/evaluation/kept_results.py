"""The results of each (model, group) on disk, so that an interrupted evaluation resumes and models can be compared."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from pathlib import Path
from typing import Any
from collections.abc import Sequence

import numpy as np

from ..errors import EvaluationError
from ..files import whole_file, write_text
from .confidence import Measurement, intervals, plain, resamples


def write_arrays(path: str | Path, **arrays: np.ndarray) -> None:
    with whole_file(path, EvaluationError) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


class KeptMeasurement(Measurement):
    """A measurement's metrics for all utterances once and for each resample: enough for intervals and paired tests.

    utterances: names; metrics: {key: (1 + samples,)}, the measured value first. `values` knows no other weights than those.
    """

    def __init__(
        self, utterances: Sequence[str], metrics: dict[str, np.ndarray], reasons: dict[str, str], samples: int,
        seed: int,
    ):  # fmt: skip
        self.keys, self.utterances, self.reasons = tuple(metrics), tuple(utterances), dict(reasons)
        self.metrics, self.samples, self.seed = metrics, samples, seed
        self._rows = None

    @classmethod
    def of(cls, measurement: Measurement, keys: Sequence[str], samples: int, seed: int) -> KeptMeasurement:
        """The metrics `keys` of a measurement."""
        utterances = len(measurement.utterances)
        blocks = [measurement.values(weights) for weights in _all_weights(utterances, samples, seed)]
        metrics = {key: np.concatenate([block[key] for block in blocks]) for key in keys}
        reasons = {key: measurement.reasons[key] for key in keys if key in measurement.reasons}
        return cls(measurement.utterances, metrics, reasons, samples, seed)

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        if self._rows is None:
            blocks = _all_weights(len(self.utterances), self.samples, self.seed)
            self._rows = {_digest(row): i for i, row in enumerate(row for block in blocks for row in block)}
        rows = [self._rows[_digest(row)] for row in weights]
        return {key: values[rows] for key, values in self.metrics.items()}

    def table(self, level: float, within: dict[str, tuple[float, float]]) -> dict[str, dict[str, Any]]:
        """-> {key: {"value", "low", "high"}}, None for what is undefined, and then perhaps "reason".

        within: {key: (least, largest possible value)}; an interval, which is moved, is cut there.
        """
        values, ranges = plain(self), intervals(self, self.samples, level, self.seed)
        ranges = {key: np.clip(ranges[key], *within[key]) for key in self.keys}
        found = {}
        for key in self.keys:
            found[key] = dict(zip(("value", "low", "high"), map(finite, (values[key], *ranges[key]))))
            if key in self.reasons:
                found[key]["reason"] = self.reasons[key]
        return found


def _all_weights(utterances, samples, seed):
    """Each utterance once, and then the resamples."""
    yield np.ones((1, utterances))
    yield from resamples(utterances, samples, seed)


def _digest(row):
    return hashlib.blake2b(np.ascontiguousarray(row, dtype=np.float64).tobytes(), digest_size=16).digest()


def finite(value: float) -> float | None:
    """NaN and infinity, which JSON lacks, as None."""
    return float(value) if math.isfinite(value) else None


class KeptResults:
    """The folder `parts/MODEL/` with GROUP.json and GROUP.npz of each finished group."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def read(self, model: str, name: str, fingerprint: str) -> tuple[list[KeptMeasurement], float] | None:
        """-> (a list of KeptMeasurements, seconds that they took), or None where there are none with this fingerprint."""
        path = self.folder / model / f"{name}.json"
        try:
            about = json.loads(path.read_text())
            if about["fingerprint"] != fingerprint:
                return None
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
                kept = [
                    KeptMeasurement(
                        one["utterances"],
                        {key: file[key] for key in one["keys"]},
                        one["reasons"],
                        one["samples"],
                        one["seed"],
                    )
                    for one in about["measurements"]
                ]
            return kept, about["seconds"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None  # none, or not whole: measure anew

    def write(self, model: str, name: str, fingerprint: str, kept: Sequence[KeptMeasurement], seconds: float) -> None:
        path = self.folder / model / f"{name}.json"
        path.unlink(missing_ok=True)
        write_arrays(path.with_suffix(".npz"), **{key: values for one in kept for key, values in one.metrics.items()})
        measurements = [
            {
                "utterances": one.utterances,
                "keys": one.keys,
                "reasons": one.reasons,
                "samples": one.samples,
                "seed": one.seed,
            }
            for one in kept
        ]
        write_text(
            path,
            json.dumps({"fingerprint": fingerprint, "seconds": seconds, "measurements": measurements}),
            EvaluationError,
        )
