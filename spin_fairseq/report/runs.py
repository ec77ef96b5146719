"""What a training with fairseq leaves in its folder: TensorBoard files and Hydra's configuration."""

import logging
import math
import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError

MOST_POINTS = 2000  # of a curve; a screen has fewer columns
MOST_TEXT = 200_000  # characters of a configuration that the page shows


@dataclass
class Run:
    """One training.

    curves: {split: {tag: (updates, values)}}; a split is "train", "train_inner" or the name of a validation subset;
    values that are not finite are None. config: the page shows it as text, as it was read. command: repeats the
    training, "" where that is not known. seconds: between the first and the last entry. notes: what was not found.
    """

    name: str
    path: Path
    curves: dict = field(default_factory=dict)
    config: str = ""
    command: str = ""
    updates: int = 0
    seconds: float = 0.0
    notes: list = field(default_factory=list)


def is_run(folder: str | Path) -> bool:
    """Whether fairseq has trained there."""
    return (Path(folder) / ".hydra").is_dir() or (Path(folder) / "tensorboard").is_dir()


def read_run(folder: str | Path) -> Run:
    """-> Run. Raises ConfigError: a configuration is not YAML, or a file of TensorBoard is damaged."""
    folder = Path(folder)
    run = Run(name=folder.resolve().name, path=folder)
    config, run.config = _yaml(folder / ".hydra" / "config.yaml")
    hydra, _ = _yaml(folder / ".hydra" / "hydra.yaml")
    overrides, _ = _yaml(folder / ".hydra" / "overrides.yaml")
    if not run.config:
        run.notes.append("Hydra's configuration (.hydra/config.yaml) is not there.")
    run.command = _command(hydra, overrides)

    logs = _get(config, "common", "tensorboard_logdir") or "tensorboard"
    logs = folder / logs if isinstance(logs, str) else folder / "tensorboard"
    times = []
    for part in sorted(path for path in logs.iterdir() if path.is_dir()) if logs.is_dir() else ():
        curves = _scalars(part, times)
        if curves:
            run.curves[part.name] = curves
    if not run.curves:
        run.notes.append(
            f"No curves: {logs.name}/ holds no TensorBoard files; train with common.tensorboard_logdir=tensorboard."
        )
    run.updates = max((steps[-1] for tags in run.curves.values() for steps, _ in tags.values()), default=0)
    run.seconds = max(times) - min(times) if times else 0.0
    return run


def _scalars(folder, times):
    """{tag: (updates, values)} of one folder of TensorBoard files; wall-clock times are added to `times`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not any(".tfevents." in name for name in os.listdir(folder)):
        return {}
    logger = logging.getLogger("tensorboard")
    level = logger.level
    logger.setLevel(logging.ERROR)  # the file of a run in progress ends in half an entry, which it would warn of
    try:
        events = EventAccumulator(os.fspath(folder), size_guidance={"scalars": 0}).Reload()
        curves = {}
        for tag in events.Tags()["scalars"]:
            points = events.Scalars(tag)
            times.extend((points[0].wall_time, points[-1].wall_time))
            points = points[:: math.ceil(len(points) / MOST_POINTS)]
            values = [float(f"{point.value:.6g}") if math.isfinite(point.value) else None for point in points]
            curves[tag] = [int(point.step) for point in points], values
    except Exception as error:  # whatever its parsers raise: the file comes from anywhere
        raise ConfigError(f"{folder}: its TensorBoard files cannot be read: {error}; remove the damaged one") from error
    finally:
        logger.setLevel(level)
    return curves


def _yaml(path):
    """-> (what the file holds, its text); (None, "") without such a file. Nothing in it is resolved or executed."""
    import yaml

    if not path.is_file():
        return None, ""
    try:
        text = path.read_text("utf-8")
        return yaml.safe_load(text), text[:MOST_TEXT]
    except (OSError, UnicodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {str(error)[:200]}; remove it or train again") from error


def _get(tree, *keys):
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _command(hydra, overrides):
    """The command that repeats a training, from what Hydra wrote down."""
    name = _get(hydra, "hydra", "job", "config_name")
    if not isinstance(name, str):
        return ""
    words = ["fairseq-hydra-train"]  # quoted for a shell
    sources = _get(hydra, "hydra", "runtime", "config_sources")
    home = _get(hydra, "hydra", "runtime", "cwd")
    for source in sources if isinstance(sources, list) else ():
        if _get(source, "provider") == "command-line" and isinstance(_get(source, "path"), str):
            words += ["--config-dir", shlex.quote(_shorter(source["path"], home))]
    words += ["--config-name", shlex.quote(name)]
    own = _get(hydra, "hydra", "overrides", "hydra")
    for item in [*(own if isinstance(own, list) else ()), *(overrides if isinstance(overrides, list) else ())]:
        if isinstance(item, str) and item != "hydra.mode=RUN":  # Hydra adds that one itself
            key, equals, value = item.partition("=")
            short = _shorter(value, home)
            # fairseq looks for this one from the run's folder, and for relative paths of the task from the command's.
            before = "$PWD/" if key == "common.user_dir" and short != value else ""
            words.append(shlex.quote(key) + equals + before + shlex.quote(short))
    return " ".join(words)


def _shorter(path, home):
    """A path below the folder of the command, relative to it."""
    if isinstance(home, str) and re.match(re.escape(home.rstrip("/")) + "/.", path):
        return path[len(home.rstrip("/")) + 1 :]
    return path
