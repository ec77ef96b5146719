"""The parser of a verb: help that begins with examples, one-line errors that name the nearest option."""

from __future__ import annotations

import argparse
import difflib
import textwrap
from typing import NoReturn
from collections.abc import Callable, Sequence

from spin_fairseq.threads import usable_cpus

from .values import at_least, setting, shard


class UsageError(Exception):
    """The command line cannot be understood; exit status 2."""


class Parser(argparse.ArgumentParser):
    """Help shows the examples first. Options cannot be abbreviated; errors are raised as UsageError."""

    def __init__(self, program: str, text: str, examples: Sequence[str]):
        super().__init__(prog=program, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
        self.text, self.examples = text, examples
        self.instead: dict[str, str] = {}  # options that only other verbs have -> what to write for them here

    def format_help(self) -> str:
        examples = textwrap.indent("\n".join(self.examples), "  ")
        return f"{examples}\n\n{self.text.strip()}\n\n{super().format_help()}"

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)

    def parse(self, add_arguments: Callable, words: Sequence[str]) -> argparse.Namespace | None:
        """add_arguments: the verb's function. None: help was asked for and has been printed. Raises UsageError."""
        add_arguments(self)
        told = self.add_mutually_exclusive_group()
        told.add_argument("--quiet", action="store_true", help="print only warnings and errors, no progress bar")
        told.add_argument("--verbose", action="store_true", help="log each step, and where an error comes from")
        options = self._option_string_actions
        for word in words[: words.index("--")] if "--" in words else words:
            option = word.split("=", 1)[0]
            if option in ("-h", "--help"):
                self.print_help()
                return None
            if option.startswith("--") and option not in options:
                if option in self.instead:
                    raise UsageError(f"there is no option {option}; {self.instead[option]}")
                nearest = difflib.get_close_matches(option, options, n=1)
                raise UsageError(f"there is no option {option}" + (f", did you mean {nearest[0]}?" if nearest else ""))
        return self.parse_intermixed_args(list(words))

    # --- the options that several verbs have -----------------------------------------------------------------------

    def add_workers(self) -> None:
        self.add_argument(
            "--workers", type=at_least(1), default=usable_cpus(), metavar="N",
            help="processes (default: one per CPU that may be used)",
        )  # fmt: skip

    def add_threads(self) -> None:
        self.add_argument(
            "--threads", type=at_least(0), default=1, metavar="N",
            help="threads that decode audio meanwhile (default 1)",
        )  # fmt: skip

    def add_device(self) -> None:
        self.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default cpu)")

    def add_dtype(self) -> None:
        self.add_argument(
            "--dtype", choices=("float32", "bfloat16", "float16"), default="float32",
            help="of products with weights; half precision changes a few units (default float32)",
        )  # fmt: skip

    def add_seed(self, of: str, default: int = 0) -> None:
        self.add_argument(
            "--seed", type=at_least(0), default=default, metavar="N", help=f"seed of {of} (default {default})"
        )

    def add_encoder(self) -> None:
        self.add_argument(
            "--encoder", metavar="KEY=VALUE", action="append", default=[],
            help="a key of the encoder's configuration that the checkpoint lacks, such as encoder_attention_heads=12; may be repeated",
        )  # fmt: skip

    def add_shards(self) -> None:
        """For a verb with `work`."""
        several = self.add_argument_group("several machines (see docs/clusters.md)")
        how = several.add_mutually_exclusive_group()
        how.add_argument("--shard", type=shard, metavar="K/N", help="compute the K-th of N parts of the work, such as 3/64, and "
                         "keep it in OUT.shards; when all are there, spin-fairseq merge OUT joins them")  # fmt: skip
        how.add_argument("--launcher", choices=("local", "submitit"), help="run all shards and join them: in processes of this "
                         "machine, or as jobs of Slurm, by submitit")  # fmt: skip
        several.add_argument("--shards", type=at_least(1), metavar="N", help="of --launcher (default: one per CPU that may be "
                             "used; 8 jobs)")  # fmt: skip
        several.add_argument("--slurm", type=setting, action="append", metavar="KEY=VALUE", help="of the jobs, such as "
                             "partition=gpu, gres=gpu:1, time=120 (minutes), mem=16G; may be repeated")  # fmt: skip

    def add_overwrite(self, what: str) -> None:
        self.add_argument("--overwrite", action="store_true", help=what)


def usable_device(name: str) -> str:
    """The name of a device that works on this machine; raises UsageError for another."""
    import torch

    try:
        torch.zeros(0, device=name)
    except (RuntimeError, AssertionError) as error:  # no such kind of device, or none on this machine
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name} cannot be used: {reason}; use cpu, or a device that is there") from error
    return name
