"""The count of bad inputs, which the last test checks and the summary states."""

from pathlib import Path

import pytest

from spin_fairseq.perturbation import native

from .judging import refused

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def compiled():
    """Numba compiles when it is first used, and that is not part of the time of the case that happens to be the first."""
    native.check_installed()


def pytest_collection_modifyitems(items):
    """The count is taken when all else has been."""
    items.sort(key=lambda item: item.path == HERE / "test_count.py")


def pytest_terminal_summary(terminalreporter):
    if refused:
        kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(refused.items()))
        terminalreporter.write_line(f"bad inputs refused: {sum(refused.values())} ({kinds})")
