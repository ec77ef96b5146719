"""The output of a model for a shard of a manifest, and for all of it once every shard is there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ..errors import ConfigError, ShardError
from ..files import whole_file
from ..shards import Shard, span
from ..speech.row_groups import row_groups
from . import dumping


def rows_of_shard(sizes: np.ndarray, shard: Shard) -> tuple[int, int]:
    """Rows of a manifest, (begin, end): whole groups, as `dumping.dump` computes them, so that a shard has the batches
    that one machine has, and the same result to the last bit. sizes: (N,) samples."""
    found = list(row_groups(sizes, dumping.GROUP_SAMPLES))
    begin, end = span([sizes[first:last].sum() for first, last in found], shard)
    if begin == end:
        return 0, 0
    return found[begin][0], found[end - 1][1]


def merge_dumps(parts: Sequence[Path], out: str | Path) -> None:
    """Join what `dump` wrote for the shards of a manifest, in their order, as it would have written it at once.

    parts: the files of the shards; what lies beside them (.ids, .len) is joined too. out: its suffix need not be theirs.
    Raises ShardError: the arrays do not fit each other. ConfigError: `out` cannot be written.
    """
    out = Path(out)
    beside = [suffix for suffix in (".len", ".ids") if parts[0].with_suffix(suffix).exists()]
    with ExitStack() as files:  # `out` gets its name last
        targets = [(files.enter_context(whole_file(out, ConfigError)), parts)]
        for suffix in beside:
            temporary = files.enter_context(whole_file(out.with_suffix(suffix), ConfigError))
            targets.append((temporary, [part.with_suffix(suffix) for part in parts]))
        is_array = parts[0].suffix == ".npy"
        for temporary, sources in targets:
            with open(temporary, "wb") as target:
                if is_array and sources is parts:
                    target.write(_joint_header(parts))
                for source in sources:
                    with open(source, "rb") as content:
                        if is_array and sources is parts:
                            _header(content)
                        shutil.copyfileobj(content, target, 1 << 22)


def _joint_header(parts: Sequence[Path]) -> bytes:
    """Of an array that holds those of all parts, one below the other."""
    frames, forms = 0, set()
    for part in parts:
        with open(part, "rb") as file:
            (count, *width), dtype = _header(file)
        frames += count
        forms.add((tuple(width), dtype))
    if len(forms) > 1:
        raise ShardError(
            f"{parts[0].parent}: the shards' arrays differ in width or type: {forms}; make all of them anew"
        )
    return dumping.npy_header(frames, *forms.pop())


def _header(file) -> tuple[tuple, np.dtype]:
    """Reads a .npy file up to its numbers -> shape, type."""
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype
