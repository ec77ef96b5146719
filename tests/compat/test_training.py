"""What is mended in fairseq's training: with its own functions, without a training."""

import multiprocessing
import os
import resource
import signal
import types

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from spin_fairseq.compat import training
from spin_fairseq.errors import CheckpointError

STATE = {"model": {"weight": torch.arange(1000.0)}, "optimizer_history": [{"num_updates": 3}]}


def read(path):
    return torch.load(path, weights_only=False)["model"]["weight"]


# --- saving ---------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_saved_and_copied(tmp_path):
    checkpoint_utils.torch_persistent_save(STATE, str(tmp_path / "a.pt"))
    assert PathManager.copy(str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), overwrite=True)
    assert torch.equal(read(tmp_path / "b.pt"), STATE["model"]["weight"])
    assert {path.name for path in tmp_path.iterdir()} == {"a.pt", "b.pt"}


@pytest.fixture
def limited():
    """limited(bytes): no file may become larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("how", ["saved", "copied"])
def test_what_cannot_be_written_leaves_the_old_checkpoint(tmp_path, limited, how):
    path, large = str(tmp_path / "checkpoint_last.pt"), str(tmp_path / "large.pt")
    checkpoint_utils.torch_persistent_save(STATE, path)
    checkpoint_utils.torch_persistent_save({"model": {"weight": torch.zeros(200000)}}, large)
    limited(400000)
    with pytest.raises(CheckpointError, match="checkpoint_last.pt: .*cannot be written: File too large") as error:
        if how == "saved":
            checkpoint_utils.torch_persistent_save({"model": {"weight": torch.zeros(200000)}}, path)
        else:
            PathManager.copy(large, path, overwrite=True)
    assert "MB are free" in str(error.value) and "same command" in str(error.value)
    assert torch.equal(read(path), STATE["model"]["weight"]) and not os.path.exists(path + ".tmp")


def test_another_error_in_a_save_stays_what_it_is(tmp_path):
    """As when a data worker is killed meanwhile: the signal's handler raises wherever the main thread is."""
    path = str(tmp_path / "checkpoint_last.pt")
    checkpoint_utils.torch_persistent_save(STATE, path)

    def write(file):
        file.write(b"half")
        raise RuntimeError("DataLoader worker (pid 1) is killed")

    with pytest.raises(RuntimeError, match="DataLoader worker"):
        training.write_whole(path, write)
    assert torch.equal(read(path), STATE["model"]["weight"]) and not os.path.exists(path + ".tmp")


@pytest.mark.parametrize("how", ["saved", "copied"])
def test_a_kill_in_the_middle_of_writing_leaves_the_old_checkpoint(tmp_path, how):
    path, large = str(tmp_path / "checkpoint_last.pt"), str(tmp_path / "large.pt")
    state = {"model": {"weight": torch.zeros(10_000_000)}}
    checkpoint_utils.torch_persistent_save(STATE, path)
    checkpoint_utils.torch_persistent_save(state, large)

    def write_over():
        if how == "saved":
            checkpoint_utils.torch_persistent_save(state, path)
        else:
            PathManager.copy(large, path, overwrite=True)

    process = multiprocessing.get_context("fork").Process(target=write_over)
    process.start()
    while process.is_alive() and not os.path.exists(path + ".tmp"):
        pass
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL and os.path.exists(path + ".tmp")  # it was in the middle
    assert torch.equal(read(path), STATE["model"]["weight"])


# --- resuming -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of an archive"])
def test_a_damaged_checkpoint_names_the_whole_ones(tmp_path, content):
    for age, name in enumerate(["checkpoint_1_2.pt", "checkpoint_best.pt", "crash.pt"]):
        checkpoint_utils.torch_persistent_save(STATE, str(tmp_path / name))
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    damaged = tmp_path / "checkpoint_last.pt"
    damaged.write_bytes(content)
    with pytest.raises(CheckpointError, match="checkpoint_last.pt: this checkpoint is cut off") as error:
        checkpoint_utils.load_checkpoint_to_cpu(str(damaged))
    assert "newest first: checkpoint_best.pt, checkpoint_1_2.pt. Copy one over it" in str(error.value)


def test_a_damaged_checkpoint_alone(tmp_path):
    damaged = tmp_path / "checkpoint_last.pt"
    checkpoint_utils.torch_persistent_save(STATE, str(damaged))
    os.truncate(damaged, damaged.stat().st_size // 2)
    with pytest.raises(CheckpointError, match="no whole one in its folder; remove it"):
        checkpoint_utils.load_checkpoint_to_cpu(str(damaged))


def test_a_missing_checkpoint_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "checkpoint_last.pt"))


# --- stopping -------------------------------------------------------------------------------------------------------


class Steps(Trainer):
    """A trainer of which the step alone is looked at."""

    def __init__(self, task):
        self.task = task

    def get_num_updates(self):
        return 7


def failing_step(error):
    def step(self, samples, raise_oom):
        raise error

    return training._explain_non_finite(step)


def test_a_non_finite_step_names_the_utterances():
    trainer = Steps(types.SimpleNamespace(name_utterances=lambda samples: [f"id-{sample}" for sample in samples]))
    step = failing_step(FloatingPointError("gradients are Nan/Inf"))
    with pytest.raises(FloatingPointError, match="gradients are Nan/Inf; update 8, .* utterances id-4, id-2") as error:
        step(trainer, [4, 2], False)
    with pytest.raises(FloatingPointError) as again:  # amp takes the same batch again, inside of the first step
        failing_step(error.value)(trainer, [4, 2], False)
    assert again.value is error.value


def test_other_errors_of_a_step_and_other_tasks_are_left_alone():
    for task, error in ((types.SimpleNamespace(), FloatingPointError("x")), (None, RuntimeError("y"))):
        with pytest.raises(type(error)) as raised:
            failing_step(error)(Steps(task), [], False)
        assert raised.value is error


def test_the_trainer_of_fairseq_does_all_that():
    assert Trainer.train_step.mended and PathManager.copy.mended
    assert checkpoint_utils.torch_persistent_save.mended and checkpoint_utils.load_checkpoint_to_cpu.mended


def epoch(updates, max_update, error=None):
    cfg = OmegaConf.create({"optimization": {"max_update": max_update}})
    made = []

    def train_epoch(*_):
        made.append(1)
        if error:
            raise error
        return [0.5], False

    trainer = types.SimpleNamespace(get_num_updates=lambda: updates)
    return training._stop_in_time(train_epoch)(cfg, trainer, None, None), made


@pytest.mark.parametrize(
    "updates, max_update, result", [(6, 6, ([None], True)), (5, 6, ([0.5], False)), (9, 0, ([0.5], False))]
)
def test_a_run_that_has_made_its_updates_makes_none(updates, max_update, result):
    found, made = epoch(updates, max_update)
    assert found == result and bool(made) == (result == ([0.5], False))


def test_a_killed_data_worker_is_explained():
    error = RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly")
    with pytest.raises(
        RuntimeError, match=r"exited unexpectedly\. A data worker .* dataset.num_workers.* same command"
    ):
        epoch(5, 6, error)
    with pytest.raises(RuntimeError, match="^other$"):
        epoch(5, 6, RuntimeError("other"))


class Undeliverable(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return lambda: index  # nothing that can be sent to another process


def test_a_worker_that_cannot_deliver_ends(capfd):
    loader = torch.utils.data.DataLoader(Undeliverable(), batch_size=None, num_workers=1)
    with pytest.raises(RuntimeError, match="DataLoader worker .* exited unexpectedly"):
        list(loader)
    assert (
        "Undeliverable.__getitem__" in capfd.readouterr().err
    )  # Python's own words differ by version; all name the object
