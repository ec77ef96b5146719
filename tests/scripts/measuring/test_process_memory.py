import os
from pathlib import Path

import numpy as np
import pytest

from measuring.process_memory import family, rollup
from tests.forked_memory import bytes_copied_by

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="read from Linux' /proc")


def test_what_a_process_has_of_its_own():
    """A child shares what it inherits, until it writes into it."""
    inherited = np.ones(50_000_000, np.uint8)
    read = bytes_copied_by(inherited.sum)
    written = bytes_copied_by(lambda: inherited.fill(2))
    assert read < 5e6 and 45e6 < written < 55e6


def test_the_family_of_a_process():
    """A child is found while it lives; of one that has ended no memory is told."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    assert child in family(os.getpid()) and rollup(child, "Rss") > 0
    os.close(reading)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    assert child not in family(os.getpid()) and rollup(child, "Rss") == 0
