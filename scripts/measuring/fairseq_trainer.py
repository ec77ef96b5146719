"""fairseq's trainer in this process, as `fairseq-hydra-train` makes it of one of the configurations of this package."""

from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[2] / "config"


def make_trainer(overrides, config="spin_hubert_base"):
    """-> fairseq's Trainer, its task set up, its model built; `overrides`: as on the command line, KEY=VALUE each.

    Raises ConfigError with hydra 1.0 (the official fairseq 0.12.2), which composes only inside its own main function.
    """
    import hydra

    import spin_fairseq  # noqa: F401  registers with fairseq
    from spin_fairseq.errors import ConfigError

    if hydra.__version__.startswith("1.0."):
        raise ConfigError("this needs hydra 1.1 or later; `make setup` installs it on Python 3.11 and later")

    from fairseq import tasks, utils
    from fairseq.dataclass.initialize import add_defaults, hydra_init
    from fairseq.trainer import Trainer
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.experimental import compose, initialize_config_dir
    from omegaconf import OmegaConf

    hydra_init(config)  # keeps fairseq's keys under the configuration's name, for it to be checked against
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS)):
        cfg = compose(config, overrides=["task.launch_dir=null", *overrides])
    ConfigStore.instance().repo.pop(f"{config}.yaml")  # another configuration may be built on this one
    add_defaults(cfg)
    cfg = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))
    utils.set_torch_seed(cfg.common.seed)
    task = tasks.setup_task(cfg.task)
    return Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))


def batches(trainer):
    """The training batches of the first epoch, as `Trainer.train_step` takes them."""
    from fairseq.data import iterators

    epoch = trainer.get_train_iterator(epoch=1)
    trainer.begin_epoch(1)
    return iterators.GroupedIterator(epoch.next_epoch_itr(shuffle=False), 1)
