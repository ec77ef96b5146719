import os

import pytest

from spin_fairseq.errors import ConfigError
from spin_fairseq.report.runs import MOST_POINTS, is_run, read_run
from tests.report.small_report import UPDATES, make_run


def test_curves_are_those_that_were_logged(run_folder):
    run = read_run(run_folder)
    assert set(run.curves) == {"train_inner", "dev"} and run.notes == [] and run.updates == 40
    updates, values = run.curves["train_inner"]["loss"]
    assert updates == list(UPDATES) and values == [3.0, 2.0, None, 1.5]  # NaN is a gap
    assert run.curves["dev"]["pnmi"][1] == pytest.approx([0.30, 0.34, 0.37, 0.39], abs=1e-5)
    assert run.seconds >= 0 and "seed: 1" in run.config


def test_the_command_repeats_the_training_from_its_folder(run_folder):
    assert read_run(run_folder).command == (
        "fairseq-hydra-train --config-dir config --config-name spin_demo hydra.run.dir=outputs/x "
        "task.data='my data' common.user_dir=$PWD/spin_fairseq"
    )


def test_long_curves_are_thinned_out(tmp_path):
    SummaryWriter = pytest.importorskip("tensorboardX", reason="comes with the extra [test]").SummaryWriter

    with SummaryWriter(str(tmp_path / "tensorboard" / "train")) as writer:
        for update in range(3 * MOST_POINTS):
            writer.add_scalar("loss", update, update)
    updates, values = read_run(tmp_path).curves["train"]["loss"]
    assert len(updates) == MOST_POINTS and updates == values and updates[:2] == [0, 3]


def test_a_run_that_goes_on_ends_in_half_an_entry(tmp_path):
    folder = make_run(tmp_path / "run")
    (file,) = (folder / "tensorboard" / "dev").iterdir()
    file.write_bytes(file.read_bytes()[:-10])
    assert read_run(folder).curves["dev"]["loss"][0] == list(UPDATES)


def test_what_is_missing_is_said(tmp_path):
    (tmp_path / "tensorboard" / "train").mkdir(parents=True)
    (tmp_path / "tensorboard" / "train" / "notes.txt").write_text("nothing")
    run = read_run(tmp_path)
    assert run.curves == {} and run.command == "" and run.updates == 0
    assert any("config.yaml" in note for note in run.notes) and any("tensorboard_logdir" in note for note in run.notes)
    assert is_run(tmp_path) and not is_run(tmp_path / "tensorboard")


def test_other_bytes_are_no_curves(tmp_path):
    folder = tmp_path / "tensorboard" / "train"
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.1.vm").write_bytes(os.urandom(4096))
    try:
        assert read_run(tmp_path).curves == {}
    except ConfigError as error:
        assert str(folder) in str(error)


@pytest.mark.parametrize("text", ["a: [", "\x00", "!!python/object/apply:os.system ['touch hacked']"])
def test_a_configuration_that_is_not_plain_yaml(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match="config.yaml"):
        read_run(tmp_path)
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    "text", ["- 1\n- 2\n", "text", "common: 3\n", "common: {tensorboard_logdir: [1]}\n", "hydra: {job: 3}\n"]
)
def test_a_configuration_of_another_shape_is_borne(tmp_path, text):
    (tmp_path / ".hydra").mkdir()
    for name in ("config", "hydra", "overrides"):
        (tmp_path / ".hydra" / f"{name}.yaml").write_text(text)
    assert read_run(tmp_path).command == ""
