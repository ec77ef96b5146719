"""Ranks that talk by NCCL; one of them, since a card takes one."""

import sys

import pytest
import torch

from tests.fairseq_runs import HYDRA_TRAIN, hydra_command, run
from tests.gloo_ranks import on_ranks, start_and_assignment

pytestmark = pytest.mark.slow


def test_the_first_rank_gives_its_weights_and_frames_are_assigned(device, tmp_path):
    backend = "gloo" if device == "cpu" else "nccl"
    (found,) = on_ranks(1, start_and_assignment, tmp_path / "ranks", device, backend=backend)
    assert found


@pytest.mark.gpu
def test_torchrun_with_one_rank(speech_folder, small_hubert, tmp_path):
    """The documented command, with a rank of one GPU."""
    command = hydra_command(
        speech_folder, small_hubert, tmp_path, "common.cpu=false", "common.fp16=true", "optimization.max_update=2"
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1"]
    assert command[: len(HYDRA_TRAIN)] == HYDRA_TRAIN and torch.cuda.device_count() >= 1
    log = run([*launcher, *command, "distributed_training.distributed_world_size=1"], tmp_path)
    assert "num_updates: 2" in log
