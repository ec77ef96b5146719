"""Files and folders that appear under their names whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from collections.abc import Iterable, Iterator

from .errors import ConfigError, SpinError

REMEDY = "choose another place"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_file(
    path: str | Path, error: type[SpinError], *, temporary: str | Path | None = None, remedy: str = REMEDY
) -> Iterator[Path]:
    """Write a file by writing to another name in its folder: -> that name.

    When the block ends, what was written is flushed to the disk and takes the place of `path`. When the block raises,
    it is removed, and `path` stays as it was. The folder is made if it is missing.

    error: raised where the file cannot be written, with `remedy`. Other errors of the block pass through.
    temporary: the other name. By default it is hidden, ends as `path` does, and has the process's number in it. Give
    one for a large file that one process writes: the next run then replaces what a killed one has left.
    """
    path = Path(path)
    temporary = _beside(path) if temporary is None else Path(temporary)
    with _explained(path, temporary, error, remedy):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def whole_folder(path: str | Path, error: type[SpinError]) -> Iterator[Path]:
    """As `whole_file`, for a folder: -> an empty folder to write to. `path` must not exist yet, or be an empty folder."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise error(f"{path}: exists already; choose another name, or remove it")
    temporary = _beside(path)
    with _explained(path, temporary, error, REMEDY):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            mode = temporary.stat().st_mode & 0o666
            for file in temporary.rglob("*"):
                if file.is_file():
                    file.chmod(mode)  # safetensors' writer lets nobody else read its file
                    _flush(file)
            os.replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def folder_set_aside(folder: str | Path) -> Iterator[None]:
    """A folder is out of the way inside the block, comes back if that fails, and is removed if it does not."""
    folder = Path(folder)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    os.rename(folder, aside)
    try:
        yield
    except BaseException:
        os.rename(aside, folder)
        raise
    shutil.rmtree(aside)


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


def write_bytes(path: str | Path, content: bytes, error: type[SpinError]) -> None:
    """Write a whole file. Raises `error` where it cannot be written."""
    with whole_file(path, error) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str, error: type[SpinError]) -> None:
    """Write a whole UTF-8 file with line ends as in `text`; file names that are not UTF-8 keep their bytes."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"), error)


def _beside(path: Path) -> Path:
    return path.with_name(f".{os.getpid()}.{path.name}")


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _explained(path: Path, temporary: Path, error: type[SpinError], remedy: str) -> Iterator[None]:
    try:
        yield
    except SpinError:
        raise
    except Exception as caught:
        cause = _failed_write(caught, path, temporary)
        if cause is None:
            raise
        if cause.errno in _FULL:
            remedy = f"make room there ({_free_megabytes(path):,.0f} MB are free), or {remedy}"
        raise error(f"{path}: cannot be written: {cause.strerror or cause}; {remedy}") from caught


def _failed_write(caught: BaseException | None, path: Path, temporary: Path) -> OSError | None:
    """The error of writing this file among an error's causes: torch raises its own while it handles that of the file."""
    while caught is not None and not isinstance(caught, OSError):
        caught = caught.__context__
    if caught is None or caught.filename is None:
        return caught
    place = Path(os.fsdecode(caught.filename)) if not isinstance(caught.filename, int) else temporary
    return (
        caught if place in (path, *path.parents, temporary, *temporary.parents) or temporary in place.parents else None
    )


def _free_megabytes(path: Path) -> float:
    """Of the file system that `path` is on, or would be."""
    for folder in path.absolute().parents:
        with suppress(OSError):
            return shutil.disk_usage(folder).free / 1e6
    return 0.0
