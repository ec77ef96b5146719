"""How many bad inputs each file of this folder has refused: checked after its last test, and stated in the summary."""

import pytest

from spin_fairseq.perturbation import native

from .judging import refused

FEWEST = 65  # of each of the eight files, so that there are 500 in all


@pytest.fixture(scope="session", autouse=True)
def compiled():
    """Numba compiles when it is first used, and that is not part of the time of the case that happens to be the first."""
    native.check_installed()


@pytest.fixture(scope="module", autouse=True)
def counted(request):
    """A file at a time, since several processes may share the files out."""
    before = sum(refused.values())
    yield
    config = request.config
    if not config.option.keyword and not any("::" in argument for argument in config.args):
        assert sum(refused.values()) - before >= FEWEST


def pytest_terminal_summary(terminalreporter):
    if refused:
        kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(refused.items()))
        terminalreporter.write_line(f"bad inputs refused: {sum(refused.values())} ({kinds})")
