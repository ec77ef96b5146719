#!/usr/bin/env python3
"""Write docs/configuration.md: every key of the configuration, from where it is declared.

    python scripts/write_configuration_page.py

The text of a key is the `help` of its dataclass field (`spin_fairseq/tasks/config.py`, `models/spin.py`,
`criterions/swapped_prediction.py`), the value of the recipe is that of `config/spin_hubert_base.yaml`. Needs fairseq.
"""

import argparse
import dataclasses
from pathlib import Path

import yaml

from spin_fairseq.criterions.swapped_prediction import SwappedPredictionConfig
from spin_fairseq.errors import ConfigError
from spin_fairseq.files import write_text
from spin_fairseq.models.spin import SpinConfig
from spin_fairseq.tasks.spin import SpinTaskConfig

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "configuration.md"
RECIPE = ROOT / "config" / "spin_hubert_base.yaml"
OWN = {"task": SpinTaskConfig, "model": SpinConfig, "criterion": SwappedPredictionConfig}
HEADER = """# Every key of the configuration

`python scripts/write_configuration_page.py` makes this page of the dataclasses that declare the keys. A value is set in
the YAML file or on the command line: `spin-fairseq train spin_hubert_base model.codebook_sizes=[2048] ...`. *Recipe* is
the value in [spin_hubert_base.yaml](../config/spin_hubert_base.yaml), and in spin_wavlm_base.yaml, which is equal but for its name.
"""
FAIRSEQ = """## fairseq's keys that the recipe sets

What they mean is fairseq's to say (`fairseq-train --help`); all of fairseq's other keys can be set as well.
"""


def page():
    """-> the page's text."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    parts = [HEADER]
    for section, config in OWN.items():
        rows = [
            (
                f"{section}.{field.name}",
                _value(_default(field)),
                _value(recipe[section].get(field.name, "")),
                field.metadata["help"],
            )
            for field in dataclasses.fields(config)
            if "help" in field.metadata
        ]
        parts += [f"## {section}\n", _table(("key", "default", "recipe", "meaning"), rows)]
    rows = [
        (f"{section}.{key}", _value(value))
        for section, keys in recipe.items()
        if section not in (*OWN, "hydra")
        for key, value in keys.items()
        if key != "_name"
    ]
    return "\n".join([*parts, FAIRSEQ, _table(("key", "recipe"), rows)])


def _default(field):
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else ""


def _value(value):
    """As it is written in YAML."""
    if value == "":
        return ""
    if value is None or isinstance(value, bool):
        value = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, list):
        value = f"[{', '.join(map(str, value))}]"
    return f"`{value}`"


def _table(head, rows):
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(argv=None):
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    write_text(PAGE, page(), ConfigError)


if __name__ == "__main__":
    main()
