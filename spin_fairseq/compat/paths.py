"""Paths that fairseq reads by itself, without asking the task, and a check before the training starts.

- Relative paths are relative to the folder where the command was given. hydra changes the working directory to the run's
  folder before any file is read.
- fairseq lists the data folder, to find validation splits that are not used. It splits the path at `:`, so that a
  folder with a colon in its name is not found.
- `checkpoint.best_checkpoint_metric` may name a metric that validation does not report. fairseq fails with a KeyError, but
  only after the first validation.
- A checkpoint to start from may not exist. fairseq logs one line about it, and trains from scratch.
"""

import copy
import os
import re
from pathlib import Path
from typing import Any
from collections.abc import Callable

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_original_cwd
from omegaconf import OmegaConf, open_dict

from ..errors import CheckpointError, ConfigError
from .training import replace

# fairseq's default of restore_file: the latest checkpoint of this run, if there is one.
OWN_LATEST = "checkpoint_last.pt"
NEED_PHONES = ("pnmi", "cluster_purity", "phone_purity")


def launch_path(task_cfg: Any, path: str | None) -> str | None:
    """Join `path` (str or None) to the folder where the command was given: `task.launch_dir`, or else hydra's record of it."""
    folder = task_cfg.launch_dir or (get_original_cwd() if HydraConfig.initialized() else "")
    return path if path is None else os.path.join(folder, path)


def _check_validation(check):
    def raise_if_valid_subsets_unintentionally_ignored(train_cfg):
        task, dataset = train_cfg.task, train_cfg.dataset
        if getattr(task, "_name", None) != "spin":
            return check(train_cfg)
        if dataset.ignore_unused_valid_subsets or dataset.combine_valid_subsets or dataset.disable_validation:
            return None
        metric = train_cfg.checkpoint.best_checkpoint_metric
        if metric in NEED_PHONES and (OmegaConf.is_missing(task, "phones") or task.phones is None):
            raise ConfigError(
                f"checkpoint.best_checkpoint_metric is {metric}, which validation reports where it has phone labels: set "
                "task.phones to their folder, or checkpoint.best_checkpoint_metric=loss and "
                "checkpoint.maximize_best_checkpoint_metric=false"
            )
        folder = Path(launch_path(task, task.data))
        files = sorted(folder.iterdir()) if folder.is_dir() else []  # reading a manifest says that there is no folder
        unused = {file.stem for file in files if re.match("valid*[0-9].*", file.name)} - set(
            dataset.valid_subset.split(",")
        )
        if unused:
            raise ConfigError(
                f"{folder}: nothing uses the validation splits {', '.join(sorted(unused))}; name them in "
                "dataset.valid_subset, separated by commas, or set dataset.ignore_unused_valid_subsets=true"
            )
        return None

    return raise_if_valid_subsets_unintentionally_ignored


def _find_what_was_asked_for(load):
    def load_checkpoint(cfg, trainer, **passed_on):
        if hasattr(trainer.task, "launch_path"):
            reads = trainer.data_parallel_rank == 0 or cfg.load_checkpoint_on_all_dp_ranks
            cfg = with_checkpoints_found(cfg, trainer.task.launch_path, trainer.checkpoint_suffix or "", reads)
        return load(cfg, trainer, **passed_on)

    return load_checkpoint


def with_checkpoints_found(
    cfg: Any, launch_path: Callable[[str], str], suffix: str = "", must_exist: bool = True
) -> Any:
    """Copy fairseq's `checkpoint` section, with absolute paths of the checkpoints to start from.

    launch_path: a function that joins a relative path to the folder where the command was given. A file that is not there
    is looked for in the run's folder and in save_dir. suffix: of this rank's shard; fairseq puts it before ".pt".
    must_exist: whether a missing file is an error.
    Raises CheckpointError: a file that was asked for is in none of these places.
    """
    found = copy.deepcopy(cfg)
    resumes = os.path.exists(os.path.join(cfg.save_dir, OWN_LATEST.replace(".pt", f"{suffix}.pt")))
    keys = (
        ["restore_file"] if cfg.restore_file != OWN_LATEST else ["finetune_from_model", "continue_once"] * (not resumes)
    )
    for key in keys:
        asked = getattr(cfg, key, None) if key in cfg else None
        if asked is None or "://" in asked:  # of another file system, which iopath knows
            continue
        places = list(
            dict.fromkeys(
                [launch_path(asked), os.path.abspath(asked), os.path.abspath(os.path.join(cfg.save_dir, asked))]
            )
        )
        in_shards = suffix if key == "restore_file" else ""
        there = [place for place in places if os.path.isfile(place.replace(".pt", f"{in_shards}.pt"))]
        if not there and must_exist:
            raise CheckpointError(
                f"checkpoint.{key}={asked}: no such file; looked for {', '.join(places)}. Give the path from where the "
                "command is given, or an absolute one; or leave the key out (the same command resumes a run by itself)"
            )
        with open_dict(found):
            setattr(found, key, (there or places)[0])
    return found


def mend_paths() -> None:
    """Apply the patches of this module; safe to call twice."""
    from fairseq import checkpoint_utils
    from fairseq.data import data_utils

    replace(data_utils, "raise_if_valid_subsets_unintentionally_ignored", _check_validation)
    replace(checkpoint_utils, "load_checkpoint", _find_what_was_asked_for)
