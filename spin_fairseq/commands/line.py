"""The command line: finds the verb, parses its arguments, runs it, and turns what goes wrong into one line."""

from __future__ import annotations

import difflib
import importlib
import shlex
import sys
from typing import Sequence

from spin_fairseq import __version__
from spin_fairseq.errors import SpinError

from . import VERBS
from .parser import Parser, UsageError

PROGRAM = "spin-fairseq"
USAGE_STATUS, INTERRUPTED_STATUS = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """-> exit status: 0, 1 for an error, 2 for a wrong command line, 3 where a verb left something out, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else map(str, argv))
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] == "--version":
        print(f"{PROGRAM} {__version__}")
        return 0
    if words[0] not in VERBS:
        return _complain(_unknown_verb(words[0]), USAGE_STATUS)
    return run_verb(words[0], words[1:])


def run_verb(verb: str, words: Sequence[str]) -> int:
    """Parse `words` for the verb and run it -> exit status. `--help` raises SystemExit(0)."""
    command = shlex.join([PROGRAM, verb, *words])
    module = importlib.import_module(f"{__package__}.{verb}")
    parser = Parser(f"{PROGRAM} {verb}", module.__doc__, module.EXAMPLES)
    try:
        module.add_arguments(parser)
        args = parser.parse(words)
        args.command = command
        return module.run(args) or 0
    except UsageError as error:
        return _complain(f"{error}; see {PROGRAM} {verb} --help", USAGE_STATUS)
    except (SpinError, OSError) as error:  # of the system: the disk is full, a file is in the way
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        print(f"stopped: {module.INTERRUPTED}", file=sys.stderr)
        return INTERRUPTED_STATUS


def overview() -> str:
    """What `spin-fairseq` alone prints."""
    lines = [f"usage: {PROGRAM} VERB [arguments]", "", "Verbs, in the order of a project's life:", ""]
    lines += [f"  {verb:<10}{summary}" for verb, summary in VERBS.items()]
    return "\n".join([*lines, "", f"{PROGRAM} VERB --help has examples and options; {PROGRAM} --version the version."])


def _unknown_verb(word: str) -> str:
    nearest = difflib.get_close_matches(word, VERBS, n=1)
    meant = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(VERBS)}"
    return f"there is no verb {word!r}; {meant}"


def _complain(message: str, status: int) -> int:
    lines = [line.strip() for line in message.splitlines()]
    print(f"error: {' '.join(line for line in lines if line)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
