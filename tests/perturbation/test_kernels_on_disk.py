"""A training that is killed and started again finds compiled kernels on disk, where the first process compiled them."""

import os
import subprocess
import sys

import pytest

from spin_fairseq.perturbation import kernels

PROGRAM = """
import hashlib, sys
import numpy as np
sys.path.insert(0, sys.argv[1])  # the folder alone: it needs nothing of the package
import kernels

rng = np.random.default_rng(0)
wave = rng.standard_normal(40000).astype(np.float32)
results = [np.zeros(40000, np.float32) for _ in range(2)]
target = np.cumsum(rng.integers(60, 140, 200))
left, right = rng.uniform(60, 140, (2, 200)).astype(np.float32)
kernels.overlap_add(wave, target, np.arange(200) * 90 + 1000, left, right, results[0])
kernels.resample(wave, 1.1, *rng.standard_normal((2, 32, 48)).astype(np.float32), results[1][:30000])
results.append(np.zeros(40000, np.float32))
kernels.cascade_side_by_side(wave, np.tile([[1.0, 0.1, 0.2, 1.0, -1.2, 0.5]], (3, 1)), results[2])
print([hashlib.md5(result).hexdigest() for result in results])
"""


@pytest.mark.slow
def test_the_same_to_the_last_bit_compiled_here_and_found_on_disk(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM, os.path.dirname(kernels.__path__[0])]
    outputs = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)
    ]
    assert list(tmp_path.rglob("*.nbi"))  # they were kept
    assert outputs[0] == outputs[1] and outputs[0].count("'") == 6
