"""The count of bad inputs, which the last test checks and the summary states."""

from pathlib import Path

from .judging import refused

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """The count is taken when all else has been."""
    items.sort(key=lambda item: item.path == HERE / "test_count.py")


def pytest_terminal_summary(terminalreporter):
    if refused:
        kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(refused.items()))
        terminalreporter.write_line(f"bad inputs refused: {sum(refused.values())} ({kinds})")
