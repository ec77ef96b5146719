"""The field's two ABX programs behind one function: fastabx, and before Python 3.12 zerospeech-libriabx2.

Both make the triplets, compute the distances by dynamic time warping and score each cell: all triplets (A, B, X) where A
and X are of one category and B is of another, in one context. They get frames and labels in memory, so no files are
written, and items are runs of the utterances' frames, so no frame is held twice.

The two agree but for two things: where a cell has too many items they draw others; and where several paths cost the same,
as with units, the distance depends on which item is the first, which libriabx2 overlooks between A and X of one group.
"""

import importlib.util
import random
import sys
import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from ...errors import ConfigError

NORMALISED_AT_ONCE = 1 << 16  # frames
TOOLS = {"fastabx": "fastabx", "libriabx2": "zrc_abx2"}  # the name here: the module's


class Task(NamedTuple):
    """Which items are compared; (N,) int64 each. A cell is one pair of categories in one context and group."""

    category: np.ndarray  # A and X have one, B another
    context: np.ndarray  # A, B and X have the same
    group: np.ndarray  # A and B have the same; X has it too, or with `across` another
    across: bool


class PreparedItems(NamedTuple):
    """Frames of all utterances one behind the other, as the program takes them, and where each item lies in them."""

    data: object  # fastabx: its accessor; libriabx2: a tensor (F, D), with normalised rows for angles
    begin: np.ndarray  # (N,) int64
    end: np.ndarray  # (N,) int64
    distance: str  # "angular", or "identical": 0 for equal and 1 for different units
    tool: str


class Cells(NamedTuple):
    """Error rate of each of C cells."""

    a: np.ndarray  # (C,) category of A and X
    b: np.ndarray  # (C,) category of B
    context: np.ndarray  # (C,)
    group: np.ndarray  # (C,) of A and B
    group_x: np.ndarray | None  # (C,) of X; None: that of A and B
    error: np.ndarray  # (C,) float32 in 0..1: fraction of triplets where X is nearer to B than to A, ties half


def installed_tool() -> str:
    """Name of the program that is there, fastabx before the other. Raises ConfigError."""
    for name, module in TOOLS.items():
        if importlib.util.find_spec(module) is not None:
            return name
    raise ConfigError(
        "ABX needs fastabx (from Python 3.12 on) or zerospeech-libriabx2 (before): install the extra [evaluation]: "
        "pip install 'spin_fairseq[evaluation]', or in a checkout '.[evaluation]'"
    )


def prepare_frames(
    data: np.ndarray, begin: np.ndarray, end: np.ndarray, distance: str, *, device: str = "cpu", tool: str | None = None
) -> PreparedItems:
    """data: (F, D) float32, for "identical" (F, 1); begin, end: (N,) places of the items -> PreparedItems for several tasks.

    tool: one of TOOLS; None: the one that is installed. Raises ConfigError.
    """
    tool = tool or installed_tool()
    data = torch.from_numpy(data).to(device)
    if tool == "fastabx":
        import fastabx

        if len(begin):
            data = fastabx.InMemoryAccessor(dict(enumerate(zip(begin.tolist(), end.tolist()))), data, data.device)
    elif distance == "angular":
        with _modules_alone("zrc_abx2"):
            from zrc_abx2.ABX_src.ABXDataset.abx_feature_loader import normalize_with_singularity

        normalised = data.new_empty(len(data), data.size(1) + 1)
        for place in range(0, len(data), NORMALISED_AT_ONCE):
            part = data[place : place + NORMALISED_AT_ONCE]
            # A copy, since normalize_with_singularity changes its argument
            normalised[place : place + len(part)] = normalize_with_singularity(part.clone())
        data = normalised
    return PreparedItems(data, begin, end, distance, tool)


def score_cells(
    task: Task, frames: PreparedItems, *, max_size_group: int | None = 10, max_x_across: int | None = 5, seed: int = 0
) -> Cells:
    """-> Cells. task and frames: of the same items.

    max_size_group: at most so many items of A, of B and of X in a cell; max_x_across: at most so many groups of X for a
    pair in a context and group; both drawn by `seed`, None for all. Raises ConfigError.
    """
    for name, size in (("max_size_group", max_size_group), ("max_x_across", max_x_across)):
        if size is not None and size < 2:
            raise ConfigError(f"{name} is {size}: ABX programs draw at least 2, or all for None")
    if len(task.category) == 0:
        return _no_cells(task)
    score = {"fastabx": _fastabx, "libriabx2": _libriabx2}[frames.tool]
    return score(task, frames, max_size_group, max_x_across, seed)


def _no_cells(task):
    none = np.zeros(0, np.int64)
    return Cells(none, none, none, none, none if task.across else None, np.zeros(0, np.float32))


def _fastabx(task, frames, max_size_group, max_x_across, seed):
    import fastabx
    import polars

    class Sorted(fastabx.Subsampler):
        """Draws from cells in a fixed order: by itself it takes them as polars' threads deliver them."""

        def __call__(self, lazy_cells, *, with_across):
            order = ["category", "category_b", "context", "group", *["group_x"] * with_across]
            return super().__call__(lazy_cells.sort(order), with_across=with_across)

    labels = polars.DataFrame({"category": task.category, "context": task.context, "group": task.group})
    by, across = (["context"], ["group"]) if task.across else (["context", "group"], [])
    subsampler = Sorted(max_size_group, max_x_across if task.across else None, seed)
    try:
        made = fastabx.Task(
            fastabx.Dataset(labels, frames.data), on="category", by=by, across=across, subsampler=subsampler
        )
    except fastabx.EmptyTaskError:
        return _no_cells(task)
    cells = fastabx.Score(made, frames.distance, progress=False).cells
    columns = ["category", "category_b", "context", "group"]
    group_x = cells["group_x"].to_numpy() if task.across else None
    return Cells(*(cells[name].to_numpy() for name in columns), group_x, cells["score"].to_numpy())


def _libriabx2(task, frames, max_size_group, max_x_across, seed):
    with _modules_alone("zrc_abx2"):
        from zrc_abx2.ABX_src import abx_group_computation, models
        from zrc_abx2.ABX_src.ABXDataset.abx_feature_dataset import ABXFeatureDataset
        from zrc_abx2.ABX_src.ABXIterators.abx_iterator_factory import IteratorFactory

    angular = frames.distance == "angular"
    distance = abx_group_computation.get_cosine_distance_batch if angular else _identical
    columns = (frames.begin, frames.end - frames.begin, task.context, task.category, task.group)
    manifest = [models.ManifestFeatureItem(*row) for row in zip(*(column.tolist() for column in columns))]
    names = [range(int(column.max()) + 1) for column in (task.context, task.category, task.group)]  # it asks how many
    dataset = ABXFeatureDataset(frames.data, manifest, frames.data.size(1), models.ItemFile({}, *names))
    everything = max(2, len(manifest))
    state = random.getstate()  # it seeds Python's own generator
    try:
        iterator = IteratorFactory.get_iterator(
            dataset, "within", "across" if task.across else "within", max_size_group or everything, seed
        )
        if not len(iterator):
            return _no_cells(task)
        iterator.max_x = max_x_across or everything
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.sparse.SparseTensor", UserWarning)
            scores = abx_group_computation.get_abx_scores_dtw_on_group(
                iterator, distance, iterator.symmetric, models.Pooling.NONE
            )
    finally:
        random.setstate(state)
    group, a, b, context, *group_x = scores._indices().numpy()
    return Cells(a, b, context, group, group_x[0] if task.across else None, scores._values().numpy())


def _identical(a, b):
    """Units (N, S, 1) and (M, T, 1) -> (N, M, S, T) float32: 0 where equal, else 1; the program itself has no such distance."""
    return (a.view(len(a), 1, -1, 1) != b.view(1, len(b), 1, -1)).float()


@contextmanager
def _modules_alone(package):
    """Inside, modules of a package are imported without running its __init__.py, which here would load torchaudio.

    The measure itself needs none, and torchaudio's binaries only load beside the very build of torch that they were made for.
    """
    there = package in sys.modules
    if not there:
        sys.modules[package] = importlib.util.module_from_spec(importlib.util.find_spec(package))
    try:
        yield
    finally:
        if not there:
            del sys.modules[package]
