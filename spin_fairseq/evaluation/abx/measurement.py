"""ABX: is X, spoken as A, nearer to A than to B? For phones within and across speakers, and for speakers.

The triplets, distances and scores of cells are those of the program in `abx_tools`; here its cells are averaged as
Libri-Light, ZeroSpeech and fastabx do, and weighed by speakers for the bootstrap: what is drawn anew are speakers, not
utterances, since new data means new speakers and the triplets of an utterance cannot be told apart. Where A, B and X are
of several speakers, a triplet counts by the product of their weights (Owen, The pigeonhole bootstrap, 2007).
"""

from collections.abc import Sequence

import numpy as np

from ...errors import EvaluationError
from .items import Items, frame_ranges
from .tools import Task, prepare_frames, score_cells
from ..confidence import Measurement
from ..metrics.metric import FRACTION, Metric
from ..metrics.inputs import checked_features, one_each

TASKS = ("within", "across", "speaker")
REPRESENTATIONS = {"features": "abx", "units": "unit_abx"}  # prefixes of the keys
VALUES_AT_ONCE = 2_000_000

_ERROR = (
    "Fraction of triplets where X is nearer to B than to A, ties half, by dynamic time warping, {distance}. "
    "A, B and X are triphones; {task}. Averaged over contexts, then over {then}, then over pairs; at most 10 items of A, B and X "
    "in a cell{speakers}. The interval is over speakers."
)
_DISTANCES = {
    "features": "frames compared by their angle",
    "units": "frames compared by their unit, 0 for equal and 1 for different ones (as one-hot vectors by their angle)",
}
_KINDS = {  # title, what A, B and X are, what is averaged after contexts
    "within": (
        "phone ABX within speakers",
        "A and B differ in the middle phone alone; one speaker says all",
        "speakers",
    ),
    "across": (
        "phone ABX across speakers",
        "A and B differ in the middle phone alone; another speaker says X",
        "speakers",
    ),
    "speaker": ("speaker ABX", "all are the same; one speaker says A and X, another says B", "middle phones"),
}
_SOURCES = {
    "within": "Schatz et al. 2013 (minimal-pair ABX); Kahn et al. 2020 (Libri-Light); Nguyen et al. 2020 (ZeroSpeech 2021)",
    "across": "Schatz et al. 2013 (minimal-pair ABX); Kahn et al. 2020 (Libri-Light); Nguyen et al. 2020 (ZeroSpeech 2021)",
    "speaker": "Poli et al. 2025 (fastabx)",
}

METRICS = tuple(
    Metric(
        f"{prefix}_{task}", f"{_KINDS[task][0]}, {representation}", "higher" if task == "speaker" else "lower",
        _ERROR.format(
            distance=_DISTANCES[representation], task=_KINDS[task][1], then=_KINDS[task][2],
            speakers=" and 5 speakers of X for a pair" if task == "across" else "",
        ),
        _SOURCES[task], chance="0.5" if task != "speaker" else "0.5, which is no speaker information", within=FRACTION,
    )
    for representation, prefix in REPRESENTATIONS.items()
    for task in TASKS
)  # fmt: skip


class AbxMeasurement(Measurement):
    """ABX error rates in 0..1 of features, units, or both; all is computed here, `values` only averages.

    items: of `triphone_items`. features: (frames, width) floats an utterance of `items.utterances`; units: (frames,)
    integers an utterance; either may be None. frame_seconds: from one frame to the next. An item that ends behind an
    utterance's last frame is left out. max_size_group, max_x_across, seed: as in `score_cells`; device, tool: as in
    `prepare_frames`.

    Attributes: utterances, the names of the speakers, which are what the bootstrap draws; cells, {key: Cells}.
    Raises EvaluationError; ConfigError where no ABX program is installed.
    """

    def __init__(
        self, items: Items, features: Sequence[np.ndarray] | None = None, units: Sequence[np.ndarray] | None = None, *,
        frame_seconds: float = 0.02, max_size_group: int | None = 10, max_x_across: int | None = 5, seed: int = 0,
        device: str = "cpu", tool: str | None = None,
    ):  # fmt: skip
        given = {"features": features, "units": units}
        given = {name: rows for name, rows in given.items() if rows is not None}
        if not given:
            raise EvaluationError("ABX needs features or units")
        self.utterances = items.speakers
        self.keys = tuple(f"{REPRESENTATIONS[name]}_{task}" for name in given for task in TASKS)
        self.cells, self.reasons, self._means = {}, {}, {}
        for name, rows in given.items():
            *gathered, kept = gather(items, rows, name, frame_seconds)
            frames = prepare_frames(*gathered, device=device, tool=tool)
            del gathered  # the program has its own copy
            for kind, task in tasks(items, kept).items():
                key = f"{REPRESENTATIONS[name]}_{kind}"
                self.cells[key] = score_cells(
                    task, frames, max_size_group=max_size_group, max_x_across=max_x_across, seed=seed
                )
                self._means[key] = _Means(self.cells[key], kind)
                if not len(self.cells[key].error):
                    self.reasons[key] = _why_empty(kind, len(task.category), len(items.speakers))

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        weights = np.asarray(weights, dtype=np.float64)
        return {key: self._means[key].of(weights) for key in self.keys}


def gather(
    items: Items, rows: Sequence[np.ndarray], name: str, frame_seconds: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str, np.ndarray]:
    """-> what `prepare_frames` takes, of the items that have all their frames, and which items these are, (N,) bool.

    rows: features or units, one array an utterance; name: "features" or "units". Raises EvaluationError.
    """
    if name == "units":
        one_each("rows of units", rows, items.utterances)
        rows = [np.asarray(row, dtype=np.float32).reshape(-1, 1) for row in rows]
    rows = checked_features(rows, items.utterances)
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    first, behind = frame_ranges(items, frame_seconds)
    kept = (behind <= lengths[items.utterance]) & (first < behind)
    before = (np.cumsum(lengths) - lengths)[items.utterance[kept]]
    data = np.concatenate(rows).astype(np.float32, copy=False)
    return data, first[kept] + before, behind[kept] + before, "identical" if name == "units" else "angular", kept


def tasks(items: Items, kept: np.ndarray) -> dict[str, Task]:
    """-> {"within", "across", "speaker": Task}. kept: (N,) bool, which items take part."""
    phone, speaker = items.phone[kept], items.speaker[kept]
    context = items.previous[kept] * len(items.phones) + items.next[kept]
    context = np.unique(context, return_inverse=True)[1].reshape(-1)
    return {
        "within": Task(phone, context, speaker, across=False),
        "across": Task(phone, context, speaker, across=True),
        "speaker": Task(speaker, context, phone, across=False),
    }


def _why_empty(kind, items, speakers):
    if not items:
        return "there are no triphones: the phone labels are missing, shorter than three phones, or all silence"
    if kind != "within" and speakers < 2:
        return "all utterances are by one speaker"
    needed = {
        "within": "two triphones that differ in the middle phone, one of them twice, by one speaker",
        "across": "two triphones that differ in the middle phone by one speaker, one of them by another speaker too",
        "speaker": "a triphone by two speakers, twice by one of them",
    }
    return f"too little speech: it needs {needed[kind]}"


class _Means:
    """Averages of cells: over contexts (and speakers of X), then groups, then pairs (a, b), at any weights of speakers."""

    def __init__(self, cells, kind):
        self.kind = kind
        x = np.zeros(len(cells.error), np.int64) if cells.group_x is None else cells.group_x
        # Cells that differ in the context alone always have the same weight: their sum and count are enough.
        rows, inverse, self.count = _distinct(cells.a, cells.b, cells.group, x)
        self.error = np.bincount(inverse, cells.error, len(rows[0]))
        self.x = rows[3]
        self.first_of_group = _changes(*rows[:3])
        groups = [column[self.first_of_group] for column in rows[:3]]
        self.group = groups[2]
        self.first_of_pair = _changes(*groups[:2])
        self.a, self.b = (column[self.first_of_pair] for column in groups[:2])

    def of(self, weights):
        """weights: (B, speakers) -> (B,) error rates, NaN where no triplet is left."""
        if not len(self.error):
            return np.full(len(weights), np.nan)
        rows = max(1, VALUES_AT_ONCE // len(self.error))
        return np.concatenate([self._block(weights[i : i + rows]) for i in range(0, len(weights), rows)])

    def _block(self, weights):
        if self.kind == "across":
            of_x = weights[:, self.x]
            means, there = _ratio(of_x * self.error, of_x * self.count, self.first_of_group)
        else:
            means, there = _ratio(self.error[None], self.count[None].astype(float), self.first_of_group)
        of_group = there * (weights[:, self.group] if self.kind != "speaker" else 1.0)
        means, there = _ratio(of_group * means, of_group, self.first_of_pair)
        of_pair = there * (weights[:, self.a] * weights[:, self.b] if self.kind == "speaker" else 1.0)
        means, there = _ratio(of_pair * means, of_pair, [0])
        return np.where(there, means, np.nan)[:, 0]


def _distinct(*columns):
    """-> the distinct rows of these columns in order, as columns; which of them each row is, (C,); and how often it occurs."""
    columns = [np.asarray(column, dtype=np.int64) for column in columns]
    sizes = [int(column.max(initial=0)) + 1 for column in columns]
    keys, inverse, counts = np.unique(np.ravel_multi_index(columns, sizes), return_inverse=True, return_counts=True)
    return np.unravel_index(keys, sizes), inverse.reshape(-1), counts


def _changes(*columns):
    """Where a row of sorted columns is another than the one before it; the first one is."""
    changed = np.zeros(len(columns[0]), dtype=bool)
    changed[:1] = True
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(changed)


def _ratio(values, weights, begins):
    """Of each run that begins at `begins`, (B, n): sum of values over sum of weights, 0 without any; and if there are some."""
    weight = np.add.reduceat(weights, begins, axis=1)
    there = weight > 0
    return np.add.reduceat(values, begins, axis=1) / np.where(there, weight, 1.0), there
