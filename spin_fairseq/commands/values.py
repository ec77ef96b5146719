"""Types of arguments: turn the text of an argument into a value, or say what it should be."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spin_fairseq.shards import Shard

CHANNELS = {"left": 1, "right": 2}
UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def at_least(low: int) -> Callable[[str], int]:
    """A `type`: a whole number of at least `low`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {low}")
        return value

    return number


def fraction(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1, such as 0.05")
    return value


def gigabytes(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is not at least 0")
    return value


def split_name(text: str) -> str:
    if not text or text.startswith(".") or "/" in text or os.sep in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a split, such as train: it names a file in --out")
    return text


def channel(text: str) -> int:
    """ "left" -> 1; the first channel is 1."""
    if text in CHANNELS:
        return CHANNELS[text]
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is none of left, right, 1, 2 ...")
    return int(text)


def size(text: str) -> int:
    """ "500M" -> bytes."""
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 1)
    try:
        value = int(float(number) * unit)
    except (ValueError, OverflowError):
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 4G or 500M")
    return value


def shard(text: str) -> Shard:
    """ "3/64" -> the third of 64 shards."""
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text!r} is no shard such as 3/64; they are counted from 1/64 to 64/64")
    from spin_fairseq.shards import Shard  # with numpy, which the help does without

    return Shard(int(number), int(of))


def setting(text: str) -> tuple[str, int | str]:
    """ "partition=gpu" -> ("partition", "gpu"); numbers are numbers."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no KEY=VALUE, such as partition=gpu")
    return key, int(value) if value.isdecimal() else value
