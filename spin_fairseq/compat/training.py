"""Saving, resuming and stopping a run, where fairseq could lose the run.

- A checkpoint gets its name only when it is complete. fairseq copies the first file to the other names in place, and after
  a failed write it writes the file again behind the incomplete data.
- A save that fails names the folder and leaves no incomplete file. An unreadable checkpoint's error lists readable ones.
- A finished run makes no update when it is started again. fairseq makes one more each time.
- A non-finite loss or gradient: the error names the utterances of the batch.
- A killed data worker: the error says what to do.
"""

import functools
import logging
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any
from typing import BinaryIO
from collections.abc import Callable

import torch

from ..errors import CheckpointError
from ..files import whole_file

logger = logging.getLogger(__name__)

GOES_ON = "give the same command again: it goes on from the last checkpoint"


def replace(owner: Any, name: str, make: Callable[[Callable], Callable]) -> None:
    """Replace `owner.name` by `make(owner.name)`, unless that was done before."""
    old = getattr(owner, name)
    if getattr(old, "mended", False):
        return
    new = functools.wraps(old)(make(old))
    new.mended = True
    setattr(owner, name, staticmethod(new) if isinstance(vars(owner).get(name), staticmethod) else new)


# --- saving ---------------------------------------------------------------------------------------------------------


def write_whole(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write(file)` on a temporary file beside `path`, and then rename it to `path`. Raises CheckpointError when writing
    fails."""
    remedy = f"mend what is wrong with the folder; earlier checkpoints are whole: {GOES_ON}"
    with whole_file(path, CheckpointError, temporary=f"{path}.tmp", remedy=remedy) as temporary:
        with open(temporary, "wb") as file:
            write(file)


def _save_whole(save):
    def torch_persistent_save(obj, filename, async_write=False):
        if async_write:
            return save(obj, filename, async_write=True)
        write_whole(filename, lambda file: torch.save(obj, file))

    return torch_persistent_save


def _copy_whole(remote):
    def copy(src_path, dst_path, overwrite=False):
        if not os.path.exists(src_path):  # a path of another file system, which iopath knows
            return remote(src_path, dst_path, overwrite)
        with open(src_path, "rb") as source:
            write_whole(dst_path, lambda file: shutil.copyfileobj(source, file, 1 << 22))
        return True

    return copy


# --- resuming -------------------------------------------------------------------------------------------------------


def _whole_neighbours(path):
    """Names of the readable checkpoints in the folder of `path`, newest first. A truncated one is no zip archive."""
    files = [file for file in Path(path).parent.glob("checkpoint*.pt") if zipfile.is_zipfile(file)]
    return [file.name for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)]


def _name_whole_checkpoints(load):
    def load_checkpoint_to_cpu(path, *args, **kwargs):
        try:
            return load(path, *args, **kwargs)
        except Exception as error:
            if not os.path.isfile(path) or zipfile.is_zipfile(path):
                raise
            whole = _whole_neighbours(path)
            if whole:
                remedy = (
                    f"whole ones in its folder, newest first: {', '.join(whole)}. Copy one over it and {GOES_ON}; "
                    "or remove it, and the run starts from the beginning"
                )
            else:
                remedy = "there is no whole one in its folder; remove it, and the run starts from the beginning"
            raise CheckpointError(f"{path}: this checkpoint is cut off or not one; {remedy}") from error

    return load_checkpoint_to_cpu


# --- stopping -------------------------------------------------------------------------------------------------------


def _explain_non_finite(step):
    def train_step(self, samples, raise_oom=False):
        try:
            return step(self, samples, raise_oom)
        except FloatingPointError as error:
            if hasattr(error, "explained") or not hasattr(self.task, "name_utterances"):
                raise
            explained = FloatingPointError(
                f"{error}; update {self.get_num_updates() + 1}, whose batch on this rank holds the utterances "
                f"{', '.join(self.task.name_utterances(samples))}. Listen to them, and leave out of the manifest what "
                "is no speech; if they are sound, lower optimization.lr. The weights before this update are in crash.pt"
            )
            explained.explained = True
            raise explained from error

    return train_step


def _stop_in_time(train_epoch):
    def train(cfg, trainer, task, epoch_itr):
        done, wanted = trainer.get_num_updates(), cfg.optimization.max_update
        if 0 < wanted <= done:
            logger.info(f"nothing to do: {done} of optimization.max_update={wanted} updates are made")
            return [None], True
        try:
            return train_epoch(cfg, trainer, task, epoch_itr)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise RuntimeError(
                f"{str(error).rstrip(' .')}. A data worker was killed, or could not go on, most often because memory "
                "ran out (that of the machine, or /dev/shm of a container): lower dataset.num_workers, or make room, "
                f"and {GOES_ON}"
            ) from error

    return train


def mend_training() -> None:
    """Apply the patches of this module; safe to call twice."""
    from fairseq import checkpoint_utils
    from fairseq.file_io import PathManager
    from fairseq.trainer import Trainer

    replace(checkpoint_utils, "torch_persistent_save", _save_whole)
    replace(checkpoint_utils, "load_checkpoint_to_cpu", _name_whole_checkpoints)
    replace(PathManager, "copy", _copy_whole)
    replace(Trainer, "train_step", _explain_non_finite)
    # fairseq's commands import it before this package. It is not imported here, because importing it sets up logging.
    if "fairseq_cli.train" in sys.modules:
        replace(sys.modules["fairseq_cli.train"], "train", _stop_in_time)
