"""Patched as in a training: each test here is of a patch."""

import pytest

from spin_fairseq import compat


@pytest.fixture(scope="session", autouse=True)
def patched():
    compat.apply()
