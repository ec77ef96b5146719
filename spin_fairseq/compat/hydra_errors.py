"""Errors that hydra fails to print."""

import importlib
import sys
import traceback


def let_hydra_print_errors() -> None:
    """Print the error of a failed run.

    hydra 1.0, which fairseq 0.12.2 requires, calls `print_exception(etype=...)`. Python >= 3.10 has no such argument, so
    that the last line printed is about this argument instead of the error.
    """
    hydra_utils = importlib.import_module("hydra._internal.utils")
    if hasattr(hydra_utils, "print_exception") and sys.version_info >= (3, 10):
        hydra_utils.print_exception = lambda etype, value, tb: traceback.print_exception(value.__class__, value, tb)
