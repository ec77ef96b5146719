"""Configuration keys that a checkpoint lacks, given by the user: `--encoder KEY=VALUE`."""

import dataclasses
from typing import Any
from collections.abc import Sequence

from ..encoders import EncoderConfig
from ..errors import ConfigError

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(EncoderConfig)}
_BOOLS = {"true": True, "false": False}


def _value(key: str, text: str) -> Any:
    kind = bool if key == "post_extract_proj" else type(_DEFAULTS[key])
    if kind is bool:
        return _BOOLS[text.lower()]
    return kind(text)


def encoder_keys(pairs: str | Sequence[str] | None, option: str = "--encoder") -> dict[str, Any]:
    """["encoder_attention_heads=12", ...], or one such text -> {"encoder_attention_heads": 12}: for `load_encoder`.

    option: how they were given, for the message. Raises ConfigError for an unknown key, or a bad value.
    """
    keys = {}
    for pair in [pairs] if isinstance(pairs, str) else pairs or []:
        if not pair:
            continue
        key, equals, text = str(pair).partition("=")
        if not equals or key not in _DEFAULTS:
            raise ConfigError(f"{option} {pair}: give KEY=VALUE, with one of {', '.join(_DEFAULTS)}")
        try:
            keys[key] = _value(key, text)
        except (ValueError, KeyError):
            kind = type(_DEFAULTS[key]).__name__
            raise ConfigError(f"{option} {pair}: {text!r} is not of the kind that {key} has ({kind})") from None
    return keys
