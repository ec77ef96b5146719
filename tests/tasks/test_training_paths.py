"""Trainings in folders with awkward names, with paths from where the command is given, by the line that is printed."""

import shutil
import subprocess

import pytest
import torch

from spin_fairseq.training_command import shell_line, training_command
from tests.fairseq_runs import log_of, run

pytestmark = pytest.mark.slow

NAME = "Größe a=b, #1 [x]:{2} it's"
SMALL = [
    "task.min_sample_size=800", "model.freeze=[cnn,pos,1..2]", "model.head_dims=[16]", "model.codebook_sizes=[20]",
    "common.fp16=false", "common.cpu=true", "common.log_format=simple", "dataset.num_workers=0", "dataset.batch_size=4",
    "lr_scheduler.warmup_updates=1", "dataset.validate_interval_updates=2",
]  # fmt: skip


def command(updates, *overrides, **paths):
    keys = {"hydra": "hydra.run.dir", "checkpoint": "model.checkpoint", "data": "task.data", "phones": "task.phones"}
    keys.update(restore="checkpoint.restore_file", finetune="checkpoint.finetune_from_model")
    paths = {keys[name]: path for name, path in paths.items()}
    return training_command("spin_demo", [f"optimization.max_update={updates}", *SMALL, *overrides], paths)


@pytest.fixture(scope="module")
def place(speech_folder, small_hubert, tmp_path_factory):
    """A folder where a training has made 2 updates: data, phones and base lie in it, all of them under relative names."""
    folder = tmp_path_factory.mktemp("place") / NAME
    for source, target in ((speech_folder.data, NAME), (speech_folder.phones, "phones")):
        (folder / target).mkdir(parents=True)
        for file in source.glob("*.tsv"):
            shutil.copy(file, folder / target)
    shutil.copy(small_hubert, folder / "ba=se.pt")
    line = shell_line(command(2, hydra=f"runs/{NAME}", checkpoint="ba=se.pt", data=NAME, phones="phones"))
    run(["sh", "-c", line], folder)
    return folder


def updates(path):
    return torch.load(path, weights_only=False)["optimizer_history"][-1]["num_updates"]


def test_trains_with_relative_paths_of_any_name(place):
    """Guards against a training that only runs with absolute paths, or where folders have plain names."""
    assert updates(place / "runs" / NAME / "checkpoint_last.pt") == 2
    assert "pnmi" in log_of(place)


@pytest.mark.parametrize("how", ["restore", "finetune"])
def test_starts_from_a_checkpoint_by_a_relative_path(place, how):
    start = f"runs/{NAME}/checkpoint_last.pt"
    run(command(3, hydra=f"runs/{how}", checkpoint="ba=se.pt", data=NAME, phones="phones", **{how: start}), place)
    assert "Loaded checkpoint" in log_of(place)
    state = torch.load(place / "runs" / how / "checkpoint_last.pt", weights_only=False)
    assert state["optimizer_history"][-1]["num_updates"] == 3
    assert len(state["optimizer_history"]) == 2  # it knows the run that it began with


@pytest.mark.parametrize("how", ["restore", "finetune"])
def test_a_checkpoint_that_is_not_there_stops_the_run(place, how):
    (place / "log").write_text("")
    arguments = command(
        3, hydra=f"runs/no_{how}", checkpoint="ba=se.pt", data=NAME, phones="phones", **{how: "gone.pt"}
    )
    code = subprocess.run(arguments, cwd=place, stdout=open(place / "log", "w"), stderr=subprocess.STDOUT).returncode
    assert code and "gone.pt: no such file; looked for" in log_of(place)
    assert not list((place / "runs" / f"no_{how}").glob("*.pt"))
