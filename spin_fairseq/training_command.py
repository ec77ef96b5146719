"""The command line of a training, `fairseq-hydra-train ...`, with every path quoted as hydra wants it.

Hydra reads the value of `KEY=VALUE` by a grammar of its own, in which `=`, `#`, `,`, brackets, umlauts and much else in a
bare value is an error, a list, or several trainings. Values in quotes are taken as they stand. The shell has quotes too,
which it removes: by hand, a path has to be written `task.data="'...'"`.
"""

import os
import re
import shlex
import sys
from pathlib import Path
from collections.abc import Mapping, Sequence

from .errors import ConfigError
from .training_overrides import check_overrides

# Keys of the configuration whose value is a path.
PATH_KEYS = (
    "task.data", "task.phones", "task.speaker_pitch", "task.pitch_marks", "task.launch_dir", "model.checkpoint",
    "checkpoint.save_dir", "checkpoint.restore_file", "checkpoint.finetune_from_model", "checkpoint.continue_once",
    "common.user_dir", "common.tensorboard_logdir", "common.log_file", "hydra.run.dir", "hydra.sweep.dir",
)  # fmt: skip

# What a training on minutes or a few hours of speech needs otherwise than the recipe; docs/small_corpora.md says why.
SMALL_UPDATES = 100
SMALL = {
    "model.codebook_init": "kmeans",
    "model.codebook_sizes": "[100]",
    "criterion.epsilon": "0.05",
    "task.perturbation_strength": "0.6",
    "task.min_sample_size": "32000",
    "task.max_sample_size": "128000",
    "dataset.max_tokens": "1600000",
    "optimization.lr": "[0.0005]",
}

# What a training on a CPU needs otherwise than one on a GPU.
ON_CPU = {"common.cpu": "true", "common.fp16": "false"}

_PACKAGE = Path(__file__).resolve().parent


def quote_override(key: str, value: str | Path) -> str:
    """`KEY='VALUE'`: an argument of hydra's command line that sets `key` to exactly the string `value`.

    key: such as "task.data", or "+task.data" for a key that the configuration lacks. value: a str or path.
    Raises ConfigError: hydra cannot be given `${`, which it would replace, nor `???`, which stands for a missing value.
    """
    value = os.fspath(value)
    if "${" in value or value == "???":
        raise ConfigError(f"{key}={value}: hydra replaces ${{...}} and takes ??? for a missing value; rename this path")
    quote = '"' if "'" in value and '"' not in value else "'"
    # A backslash counts as one only where it stands before a quote.
    value = re.sub(rf"(\\*)({quote}|$(?!\n))", lambda found: found[1] * 2 + ("\\" + quote if found[2] else ""), value)
    return f"{key}={quote}{value}{quote}"


def small_overrides(overrides: Sequence[str]) -> list[str]:
    """["KEY=VALUE", ...] -> the keys of a small training that are not among them, as overrides to go before them.

    The schedule follows optimization.max_update where that is given: a tenth of it warms up.
    """
    given = dict(override.lstrip("+").split("=", 1) for override in overrides if "=" in override)
    updates = given.get("optimization.max_update", str(SMALL_UPDATES))
    if not updates.isdigit() or int(updates) < 1:
        raise ConfigError(f"optimization.max_update is {updates}: it must be a whole number of at least 1")
    keys = {
        **SMALL,
        "optimization.max_update": updates,
        "lr_scheduler.total_num_update": updates,
        "lr_scheduler.warmup_updates": str(max(1, int(updates) // 10)),
    }
    return [f"{key}={value}" for key, value in keys.items() if key not in given]


def cpu_overrides(overrides: Sequence[str]) -> list[str]:
    """["KEY=VALUE", ...] -> the keys that a machine without a GPU needs and that are not among them, to go before them."""
    given = {override.lstrip("+").partition("=")[0] for override in overrides}
    return [f"{key}={value}" for key, value in ON_CPU.items() if key not in given]


def check_checkpoint(overrides: Sequence[str]) -> None:
    """Raises ConfigError where model.checkpoint names no file or folder: before a training starts, in one line."""
    for override in overrides:
        key, _, path = override.lstrip("+").partition("=")
        path = path.strip("'\"")
        if key == "model.checkpoint" and path != "null" and "${" not in path and not Path(path).exists():
            raise ConfigError(
                f"model.checkpoint={path}: no such file; docs/training.md says where to get HuBERT and WavLM"
            )


def quote_paths(overrides: Sequence[str]) -> list[str]:
    """Overrides as somebody types them -> the same, with bare paths in quotes.

    overrides: ["KEY=VALUE", ...]. Values of PATH_KEYS are quoted, unless they are in quotes already, are `null`, or hold an
    interpolation `${...}`. All others are left to hydra.
    """
    return [_quote_path(override) for override in overrides]


def _quote_path(override):
    key, equals, value = override.partition("=")
    if not equals or key.lstrip("+") not in PATH_KEYS:
        return override
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return override if quoted or value in ("null", "") or "${" in value else quote_override(key, value)


def config_folder() -> Path:
    """The folder of this project's configurations: the installed package's, else that of the repository.

    Raises ConfigError where there is neither.
    """
    for folder in (_PACKAGE / "config", _PACKAGE.parent / "config"):
        if (folder / "spin_hubert_base.yaml").is_file():
            return folder
    raise ConfigError(
        f"no configurations in {_PACKAGE / 'config'}: install the package again, or give --config-dir FOLDER"
    )


def training_command(
    config_name: str, overrides: Sequence[str] = (), paths: Mapping[str, str | Path | None] | None = None,
    config_dir: str | Path | None = None,
) -> list[str]:  # fmt: skip
    """-> the arguments of a training by fairseq, a list of str for `subprocess.run`.

    config_name: of a YAML file in `config_dir`, with or without its suffix. overrides: as in `quote_paths`. paths: {key:
    path or None}, set to exactly these; None leaves the key as it is. config_dir: default `config_folder()`.
    Raises ConfigError: there is no such configuration, a path that hydra cannot be given, or an override that it cannot read.
    """
    config_dir = Path(config_dir or config_folder()).resolve()
    config_name = re.sub(r"\.ya?ml$", "", config_name)
    if not (config_dir / f"{config_name}.yaml").is_file():
        known = ", ".join(sorted(file.stem for file in config_dir.glob("*.yaml"))) or "none"
        raise ConfigError(f"{config_dir}: no configuration {config_name!r} there; choose one of these: {known}")
    paths, overrides = {"common.user_dir": _PACKAGE, **(paths or {})}, quote_paths(overrides)
    check_overrides(overrides, config_dir / f"{config_name}.yaml")
    return [
        *_program(),
        *("--config-dir", str(config_dir), "--config-name", config_name),
        *(quote_override(key, path) for key, path in paths.items() if path is not None),
        *overrides,
    ]


def _program():
    beside = Path(sys.executable).with_name("fairseq-hydra-train")
    return [str(beside)] if beside.is_file() else [sys.executable, "-m", "fairseq_cli.hydra_train"]


def shell_line(command: Sequence[object]) -> str:
    """-> the command as a shell would take it, on one line."""
    return " ".join(shlex.quote(str(argument)) for argument in command)
