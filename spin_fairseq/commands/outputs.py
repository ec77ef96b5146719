"""Existing files are replaced only with --overwrite."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from collections.abc import Iterable, Iterator

from spin_fairseq.errors import ConfigError
from spin_fairseq.files import folder_set_aside


def refuse_to_replace(paths: Iterable[str | Path], overwrite: bool) -> None:
    """Raises ConfigError if one of the paths exists and `overwrite` is false."""
    there = [str(path) for path in paths if os.path.lexists(path)]
    if there and not overwrite:
        raise ConfigError(f"{', '.join(there)}: there already; --overwrite replaces, or choose another --out")


def remove(paths: Iterable[str | Path]) -> None:
    """Remove files, and folders with their content; missing ones are ignored."""
    for path in map(Path, paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def export_set_aside(folder: str | Path) -> Iterator[None]:
    """Move an existing export folder out of the way; it comes back if the block fails."""
    folder = Path(folder)
    if not folder.is_dir():
        yield
        return
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: a folder that is no export, which --overwrite leaves alone; choose another --out")
    with folder_set_aside(folder):
        yield
