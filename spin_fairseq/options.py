"""Keys of a configuration, as fairseq's dataclasses declare them."""

from dataclasses import field
from typing import Any


def option(default: Any, meaning: str) -> Any:
    """A dataclass field. meaning: what the command line and docs/configuration.md say of it."""
    return field(default=default, metadata={"help": meaning})
