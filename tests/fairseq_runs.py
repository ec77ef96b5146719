"""Runs of fairseq's own commands in processes of their own, with a small base and few updates."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[1]
HYDRA_TRAIN = [os.path.join(sysconfig.get_path("scripts"), "fairseq-hydra-train")]
TRAIN = [os.path.join(sysconfig.get_path("scripts"), "fairseq-train")]
UPDATES = 6
QUALITY = ("pnmi", "cluster_purity", "phone_purity")  # what validation reports of units


def skip_with_hydra_1_0():
    """For a test that makes fairseq's trainer in its own process."""
    import hydra

    if hydra.__version__.startswith("1.0."):
        pytest.skip("hydra 1.0 composes no configuration outside of its own main function")


def start(command, folder, **environment):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    folder.mkdir(parents=True, exist_ok=True)
    log = open(folder / f"log{environment.get('RANK_LOG', '')}", "a")
    return subprocess.Popen(
        list(map(str, command)), cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True
    )


def log_of(folder):
    return "".join(path.read_text() for path in sorted(folder.glob("log*")))


def run(command, folder, succeeds=True, **environment):
    """-> what the command printed."""
    code = start(command, folder, **environment).wait(timeout=300)
    assert (code == 0) == succeeds, log_of(folder)[-5000:]
    return log_of(folder)


def validated(log, name):
    """What each validation reported."""
    return [float(x) for x in re.findall(rf"valid on 'dev' subset .*\| {name} ([\d.]+)", log)]


def hydra_command(speech, checkpoint, folder, *overrides):
    """The command of the README, with a small base and few updates."""
    return HYDRA_TRAIN + [
        "--config-dir", REPOSITORY / "config", "--config-name", "spin_hubert_base",
        f"common.user_dir={REPOSITORY / 'spin_fairseq'}", f"task.data={speech.data}", f"model.checkpoint={checkpoint}",
        f"hydra.run.dir={folder}", f"task.phones={speech.phones}", "task.min_sample_size=800",
        "model.freeze=[cnn,pos,1..2]", "model.head_dims=[16]", "model.codebook_sizes=[20]",
        "common.fp16=false", "common.cpu=true", "common.log_interval=1",
        "dataset.max_tokens=272000", "dataset.batch_size=4", "dataset.num_workers=1",
        f"optimization.max_update={UPDATES}", "optimization.lr=[0.001]",
        "lr_scheduler.warmup_updates=2", f"lr_scheduler.total_num_update={UPDATES}",
        "dataset.validate_interval_updates=3", "checkpoint.save_interval_updates=1",
        "checkpoint.best_checkpoint_metric=pnmi", "checkpoint.maximize_best_checkpoint_metric=true",
        *overrides,
    ]  # fmt: skip


def weights(path):
    return torch.load(path, map_location="cpu", weights_only=False)["model"]


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different
