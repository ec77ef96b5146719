"""Checks `KEY=VALUE` on a training's command line before hydra does, whose errors speak of its grammar."""

import difflib
from importlib.util import find_spec
from pathlib import Path
from collections.abc import Sequence

from .errors import ConfigError

QUOTING = """put the value in quotes that reach hydra, inside of the shell's: KEY="'VALUE'\""""


def check_overrides(overrides: Sequence[str], config: Path) -> None:
    """Raises ConfigError for an override that hydra would not read, would take for several trainings, or whose key is unknown.

    overrides: ["KEY=VALUE", ...] as they are given to hydra; config: path of the YAML file. Without hydra nothing is checked.
    """
    if find_spec("hydra") is None:
        return
    import yaml
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    sections = _sections(config, yaml.safe_load)
    parser = OverridesParser.create()
    for override in overrides:
        try:
            parsed = parser.parse_override(override)
        except HydraException as error:
            raise ConfigError(
                f"{override}: hydra cannot read this ({str(error).splitlines()[0]}); {QUOTING}"
            ) from error
        if parsed.is_sweep_override():
            raise ConfigError(
                f"{override}: hydra takes commas for several trainings; write a list as KEY=[1,2], and for a text with commas {QUOTING}"
            )
        if parsed.is_add() or parsed.is_delete() or parsed.key_or_group.startswith("hydra."):
            continue
        _check_key(parsed.key_or_group, sections, config)


def _sections(config, load):
    """{section: {key: value}} of a YAML file and of those beside it that its defaults list names."""
    content = load(config.read_text(encoding="utf-8")) or {}
    merged = {}
    for name in [name for name in content.pop("defaults", []) if isinstance(name, str) and name != "_self_"]:
        other = config.with_name(f"{name}.yaml")
        if other.is_file() and other != config:
            merged.update(_sections(other, load))
    for section, values in content.items():
        both = isinstance(values, dict) and isinstance(merged.get(section), dict)
        merged[section] = {**merged[section], **values} if both else values
    return merged


def _check_key(key, sections, config):
    section, _, name = key.partition(".")
    if name.partition(".")[0] in _keys_of(sections, section):
        return
    known = {f"{one}.{other}" for one in sections for other in _keys_of(sections, one)}
    known |= _keys_of_fairseq()
    if key in known or ".".join(key.split(".")[:2]) in known:
        return
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
    meant = (
        f"did you mean {nearest[0]}?"
        if nearest
        else f"a key that {config} does not set, but fairseq knows, needs a +: +{key}=..."
    )
    raise ConfigError(f"there is no key {key} in the configuration; {meant}")


def _keys_of(sections, section):
    keys = sections.get(section)
    return set(keys) if isinstance(keys, dict) else set()


def _keys_of_fairseq():
    """Keys of the sections that are the same for every task and model: common, dataset, optimization, checkpoint ..."""
    if find_spec("fairseq") is None:
        return set()
    from dataclasses import fields, is_dataclass

    from fairseq.dataclass.configs import FairseqConfig

    return {
        f"{one.name}.{key.name}" for one in fields(FairseqConfig) if is_dataclass(one.type) for key in fields(one.type)
    }
