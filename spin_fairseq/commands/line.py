"""The command line: finds the verb, parses its arguments, runs it, and turns errors into one line."""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from spin_fairseq import __version__
from spin_fairseq.errors import SpinError

from . import VERBS
from .parser import Parser, UsageError

PROGRAM = "spin-fairseq"
DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """-> exit status: 0, 1 for an error, 2 for a wrong command line, 3 if a verb left something out, 130 for Ctrl-C."""
    try:
        status = _main(list(sys.argv[1:] if argv is None else map(str, argv)))
        sys.stdout.flush()  # while its errors can still be caught
        return status
    except BrokenPipeError:  # the reader of the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return DONE
    if words[0] == "--version":
        print(f"{PROGRAM} {__version__}")
        return DONE
    if words[0] not in VERBS:
        return _complain(_unknown(words[0]), WRONG_USAGE)
    return run_verb(words[0], words[1:])


def run_verb(verb: str, words: Sequence[str]) -> int:
    """Parse `words` for the verb and run it -> exit status."""
    module = importlib.import_module(f"{__package__}.{verb}")
    parser = Parser(f"{PROGRAM} {verb}", module.__doc__, module.EXAMPLES)
    try:
        args = parser.parse(module.add_arguments, words)
        if args is None:
            return DONE
        args.words, args.command = list(words), shlex.join([PROGRAM, verb, *words])
        with _told_as_asked(args):
            return _run(verb, module, args) or DONE
    except UsageError as error:
        return _complain(f"{error}; see {PROGRAM} {verb} --help", WRONG_USAGE)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        again = shlex.join([PROGRAM, verb, *_again(words, getattr(module, "AGAIN", ""))])
        print(f"stopped: {module.KEPT}; to go on: {again}", file=sys.stderr)
        return INTERRUPTED
    except (SpinError, OSError) as error:  # OSError: the disk is full, or a file is in the way
        _trace(words)
        return _complain(str(error), FAILED)
    except Exception as error:  # a bug of this package, or a missing library
        _trace(words)
        return _complain(f"{type(error).__name__}: {error} (not foreseen; --verbose shows where)", FAILED)


def _run(verb: str, module, args) -> int | None:
    """All of the work, one shard of it, or all shards on several machines."""
    if getattr(args, "shard", None):
        from .sharding import run_shard

        return run_shard(verb, module, args)
    if getattr(args, "launcher", None):
        from .launching import launch

        return launch(verb, module, args)
    return module.run(args)


def overview() -> str:
    """What `spin-fairseq` alone prints."""
    lines = [f"usage: {PROGRAM} VERB [arguments]", "", "Verbs, in the order of a project's life:", ""]
    lines += [f"  {verb:<10}{summary}" for verb, summary in VERBS.items()]
    return "\n".join([*lines, "", f"{PROGRAM} VERB --help has examples and options; {PROGRAM} --version the version."])


@contextmanager
def _told_as_asked(args) -> Iterator[None]:
    """Set args.say, progress bars and logging according to --quiet and --verbose."""
    args.say = (lambda *lines: None) if args.quiet else (lambda *lines: print(*lines, sep="\n", flush=True))
    logger = logging.getLogger(None if args.verbose else "spin_fairseq")
    handler, level = logging.StreamHandler(), logger.level
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if args.verbose else logging.WARNING)
    bars = _hidden_bars() if args.quiet else nullcontext()
    try:
        with bars:
            yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


@contextmanager
def _hidden_bars() -> Iterator[None]:
    from spin_fairseq.progress import ProgressBar

    ProgressBar.hide()
    try:
        yield
    finally:
        ProgressBar.hide(False)


def _again(words: Sequence[str], how: str) -> list[str]:
    """The command that resumes after Ctrl-C: as it was, "with --overwrite", or "without --overwrite"."""
    if not how:
        return list(words)
    rest = [word for word in words if word != "--overwrite"]
    return [*rest, "--overwrite"] if how == "with --overwrite" else rest


def _unknown(word: str) -> str:
    nearest = difflib.get_close_matches(word, [*VERBS, "--help", "--version"], n=1)
    meant = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(VERBS)}"
    return f"there is no verb {word!r}; {meant}"


def _trace(words: Sequence[str]) -> None:
    if "--verbose" in words:
        traceback.print_exc()


def _complain(message: str, status: int) -> int:
    lines = [line.strip() for line in message.splitlines()]
    print(f"error: {' '.join(line for line in lines if line)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
