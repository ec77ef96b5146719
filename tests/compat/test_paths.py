"""Files that fairseq reads by itself: where the command was given, with any name, and an error when they are not there."""

import os
import types

import pytest
from fairseq import checkpoint_utils
from fairseq.data import data_utils
from fairseq.dataclass.configs import CheckpointConfig
from omegaconf import OmegaConf

from spin_fairseq.compat.paths import launch_path, with_checkpoints_found
from spin_fairseq.errors import CheckpointError, ConfigError


@pytest.fixture
def places(tmp_path, monkeypatch):
    """launch/ and run/, with a file of a name of its own in each, and one of both; the working directory is run/."""
    for name in (
        "launch/a:b.pt",
        "launch/both.pt",
        "run/both.pt",
        "run/in_run.pt",
        "run/checkpoints/checkpoint_1_2.pt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "run")
    return tmp_path


def found(places, suffix="", must_exist=True, **keys):
    cfg = OmegaConf.create({**vars(CheckpointConfig()), **keys})
    before = OmegaConf.to_container(cfg, resolve=False)
    task = types.SimpleNamespace(launch_dir=str(places / "launch"))
    result = with_checkpoints_found(cfg, lambda path: launch_path(task, path), suffix, must_exist)
    assert OmegaConf.to_container(cfg, resolve=False) == before  # it is stored in checkpoints
    return result


@pytest.mark.parametrize("key", ["restore_file", "finetune_from_model", "continue_once"])
@pytest.mark.parametrize(
    "asked, place",
    [
        ("a:b.pt", "launch/a:b.pt"),
        ("both.pt", "launch/both.pt"),
        ("in_run.pt", "run/in_run.pt"),
        ("checkpoint_1_2.pt", "run/checkpoints/checkpoint_1_2.pt"),
        ("../run/in_run.pt", "run/in_run.pt"),
    ],
)
def test_a_checkpoint_is_found(places, key, asked, place):
    """Guards against a training from scratch: hydra's folder is another than that of the command."""
    assert os.path.samefile(found(places, **{key: asked})[key], places / place)
    assert os.path.samefile(found(places, **{key: str(places / place)})[key], places / place)


@pytest.mark.parametrize("key", ["restore_file", "finetune_from_model", "continue_once"])
def test_a_checkpoint_that_is_not_there_stops_the_run(places, key):
    """Guards against a training from scratch behind one line of the log."""
    with pytest.raises(
        CheckpointError, match=rf"checkpoint.{key}=gone.pt: no such file; .*launch/gone.pt.*leave the key out"
    ):
        found(places, **{key: "gone.pt"})
    with pytest.raises(CheckpointError, match=f"checkpoint.{key}=/gone.pt"):
        found(places, **{key: "/gone.pt"})
    assert found(places, must_exist=False, **{key: "gone.pt"})[key] == str(places / "launch" / "gone.pt")


def test_a_run_that_goes_on_does_not_need_where_it_began(places):
    (places / "run" / "checkpoints" / "checkpoint_last.pt").touch()
    assert found(places, finetune_from_model="gone.pt")["finetune_from_model"] == "gone.pt"


def test_the_runs_own_checkpoint_and_other_file_systems_are_left_to_fairseq(places):
    assert found(places)["restore_file"] == "checkpoint_last.pt"
    assert found(places, restore_file="s3://a/b.pt")["restore_file"] == "s3://a/b.pt"


def test_a_shard_of_a_checkpoint(places):
    (places / "launch" / "a-shard1.pt").touch()
    assert found(places, "-shard1", restore_file="a.pt")["restore_file"] == str(places / "launch" / "a.pt")
    with pytest.raises(CheckpointError, match="a.pt: no such file"):
        found(places, "-shard0", restore_file="a.pt")


# --- validation splits that nothing uses ------------------------------------------------------------------------------


def training(places, data, valid="dev", task="spin", phones=None, metric="loss", **dataset):
    flags = {"ignore_unused_valid_subsets": False, "combine_valid_subsets": None, "disable_validation": False}
    return OmegaConf.create({
        "task": {"_name": task, "data": str(data), "phones": phones, "launch_dir": str(places / "launch")},
        "checkpoint": {"best_checkpoint_metric": metric},
        "dataset": {**flags, "valid_subset": valid, **dataset},
    })  # fmt: skip


@pytest.mark.parametrize("name", ["data", "da:ta", "ä b=c#[1]"])
def test_the_folder_of_the_data_is_looked_at_from_where_the_command_was_given(places, name):
    """Guards against FileNotFoundError in hydra's folder, and against a `:` taken for two folders."""
    check = data_utils.raise_if_valid_subsets_unintentionally_ignored
    folder = places / "launch" / name
    folder.mkdir()
    for split in ("train", "dev", "valid1", "valid2"):
        (folder / f"{split}.tsv").touch()
    for data in (name, folder):
        with pytest.raises(
            ConfigError, match=r"nothing uses the validation splits valid2; name them in dataset.valid_subset"
        ):
            check(training(places, data, "dev,valid1"))
        assert check(training(places, data, "valid1,valid2")) is None
        assert check(training(places, data, ignore_unused_valid_subsets=True)) is None
    assert check(training(places, "gone")) is None  # the manifest's reader says so


@pytest.mark.parametrize("metric", ["pnmi", "phone_purity"])
@pytest.mark.parametrize("phones", [None, "???"])
def test_a_best_checkpoint_by_what_nobody_reports(places, metric, phones):
    """Guards against a KeyError after the first validation, which may be hours away."""
    check = data_utils.raise_if_valid_subsets_unintentionally_ignored
    with pytest.raises(ConfigError, match=f"best_checkpoint_metric is {metric}, .*: set task.phones"):
        check(training(places, "gone", metric=metric, phones=phones))
    assert check(training(places, "gone", metric=metric, phones="phones")) is None


def test_other_tasks_are_checked_by_fairseq(places):
    with pytest.raises(FileNotFoundError):
        data_utils.raise_if_valid_subsets_unintentionally_ignored(training(places, "gone", task="hubert_pretraining"))
    assert checkpoint_utils.load_checkpoint.mended
