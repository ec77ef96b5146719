"""Errors that hydra cannot print."""

import importlib
import sys
import traceback


def let_hydra_print_errors():
    """hydra 1.0, which fairseq 0.12.2 comes with, prints a failed run's error by `print_exception(etype=...)`. Python >= 3.10
    has no such argument, and the last line says that instead of what went wrong."""
    hydra_utils = importlib.import_module("hydra._internal.utils")
    if hasattr(hydra_utils, "print_exception") and sys.version_info >= (3, 10):
        hydra_utils.print_exception = lambda etype, value, tb: traceback.print_exception(value.__class__, value, tb)
