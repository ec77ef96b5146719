"""Modules of the demo, which lie beside each other in no package."""

import importlib
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"


@pytest.fixture(scope="module")
def demo_module():
    """demo_module(name) -> the module, which finds its neighbours as long as the tests of a file run."""
    path = sys.path.copy()
    sys.path.insert(0, str(DEMO))
    yield importlib.import_module
    sys.path[:] = path
