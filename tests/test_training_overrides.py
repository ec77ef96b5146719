"""Overrides that hydra would refuse, or take for something else: named, with what to write instead."""

import pytest

from spin_fairseq.errors import ConfigError
from spin_fairseq.training_command import config_folder, training_command
from spin_fairseq.training_overrides import check_overrides

CONFIG = config_folder() / "spin_demo.yaml"


@pytest.mark.parametrize(
    "override, message",
    [
        ("common.wandb_project=a=b", r"common.wandb_project=a=b: hydra cannot read this .*KEY=\"'VALUE'\""),
        ("common.wandb_project=Größe", "hydra cannot read this"),
        ("optimization.lr=[0.1", "hydra cannot read this"),
        ("optimization.lr", "hydra cannot read this"),
        ("optimization.lr=0.1,0.2", "several trainings; write a list as KEY="),
        ("task.dta=/speech", r"there is no key task.dta in the configuration; did you mean task.data\?"),
        ("optimisation.lr=[0.1]", r"did you mean optimization.lr\?"),
        ("optimizer.use_old_adam=true", r"needs a \+: \+optimizer.use_old_adam="),
        ("seed=3", r"there is no key seed .*needs a \+"),
    ],
)
def test_what_is_wrong_and_what_to_write(override, message):
    """Guards against errors in the terms of hydra's grammar, which name no remedy."""
    with pytest.raises(ConfigError, match=message):
        training_command("spin_demo", [override])


@pytest.mark.parametrize(
    "override",
    [
        "optimization.lr=[0.1,0.2]", "common.wandb_project='a=b'", "common.wandb_project=name", "+optimizer.use_old_adam=true",
        "~task.phones", "hydra.run.dir=x", "hydra.job.name=x", "task.phones=null", "checkpoint.keep_last_epochs=2",
        "model.freeze=[cnn,pos,1..10]", "dataset.max_tokens=1e6", "task.data=a=b#c",
    ],
)  # fmt: skip
def test_what_hydra_takes_is_taken(override):
    assert training_command("spin_demo", [override])


@pytest.mark.parametrize("name", [file.stem for file in config_folder().glob("*.yaml")])
def test_keys_that_come_from_another_configuration_are_known(name):
    """Guards against a configuration whose defaults list was not followed."""
    assert training_command(name, ["task.data=x", "model.checkpoint=y", "optimization.lr=[0.1]"])
    with pytest.raises(ConfigError, match="did you mean task.data"):
        training_command(name, ["task.dta=x"])


def test_every_key_of_the_configurations_is_known():
    import yaml

    for file in config_folder().glob("*.yaml"):
        sections = yaml.safe_load(file.read_text())
        keys = [
            f"{section}.{key}=1"
            for section, values in sections.items()
            if section not in ("hydra", "defaults")
            for key in values
        ]
        check_overrides(keys, file)
