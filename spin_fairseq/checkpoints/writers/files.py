"""Giving an export its name when it is whole."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from ...errors import CheckpointError


@contextmanager
def whole_file(path):
    """-> a temporary path to write to, which then takes the place of `path`; gone if anything fails."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        if temporary.exists():
            temporary.unlink()


@contextmanager
def whole_folder(path):
    """-> a temporary folder to write to, which then gets the name `path`; that must not exist yet, or be empty."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise CheckpointError(f"{path}: exists already; choose another name, or remove it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.iterdir():  # safetensors' writer lets nobody else read its file
            file.chmod(temporary.stat().st_mode & 0o666)
        os.replace(temporary, path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
