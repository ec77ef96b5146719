"""Files that are written part by part, survive a kill, and get their names when they are whole."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from collections.abc import Mapping

from ..errors import ConfigError
from ..files import write_text


class ResumableFiles:
    """Several files that grow together; until `finish`, they are `NAME.part`, and `NAME.progress` says what is in them.

    paths: {key: path}, the first one gets its name last. fingerprint: what JSON can hold; parts of a run with another
    fingerprint are thrown away. done: how many items the parts hold.
    """

    def __init__(self, paths: Mapping[str, str | Path], fingerprint: Any):
        self.paths = {key: Path(path) for key, path in paths.items()}
        main = next(iter(self.paths.values()))
        self._progress = main.with_name(main.name + ".progress")
        self._fingerprint = json.loads(json.dumps(fingerprint))
        try:
            main.parent.mkdir(parents=True, exist_ok=True)
            self.done, sizes = self._found()
            self._files = {key: self._open(self._part(path), sizes.get(key, 0)) for key, path in self.paths.items()}
        except OSError as error:
            raise ConfigError(f"{main}: cannot be written ({error.strerror or error}); choose another place") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in self._files.values():
            with suppress(OSError):  # closing writes what a full disk has refused before
                file.close()

    def append(self, items: int, **content: bytes) -> None:
        """Add `content`, bytes for each key, which are so many items. A kill leaves all of it, or none.

        Raises ConfigError: the disk is full, or another error of writing; what was added before stays.
        """
        try:
            for key, data in content.items():
                self._files[key].write(data)
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(
                f"{next(iter(self.paths.values()))}: cannot be written ({error.strerror or error}); make room there and give "
                "the command again: what it has finished is kept"
            ) from error
        self.done += items
        state = {
            "fingerprint": self._fingerprint,
            "done": self.done,
            "sizes": {k: f.tell() for k, f in self._files.items()},
        }
        write_text(self._progress, json.dumps(state), ConfigError)

    def finish(self) -> None:
        """Give the files their names."""
        for file in self._files.values():
            file.close()
        for path in reversed(list(self.paths.values())):
            os.replace(self._part(path), path)
        self._progress.unlink()

    @staticmethod
    def _part(path):
        return path.with_name(path.name + ".part")

    @staticmethod
    def _open(path, size):
        file = open(path, "r+b" if size else "wb")
        file.truncate(size)
        file.seek(size)
        return file

    def _found(self):
        """-> items done and bytes of each file, of an earlier run with the same fingerprint; else 0, {}."""
        try:
            state = json.loads(self._progress.read_text())
            sizes = state["sizes"]
            whole = all(self._part(path).stat().st_size >= sizes[key] for key, path in self.paths.items())
            if whole and state["fingerprint"] == self._fingerprint:
                return int(state["done"]), sizes
        except (OSError, ValueError, KeyError, TypeError):
            pass  # none, or not whole: begin anew
        return 0, {}
