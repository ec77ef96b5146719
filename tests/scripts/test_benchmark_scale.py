"""That the benchmark measures what it says, on small corpora; its figures for large ones are in the README."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/smaps_rollup").exists(), reason="memory of processes is read from Linux' /proc"
    ),
]

path = Path(__file__).parents[2] / "scripts" / "benchmark_scale.py"
spec = importlib.util.spec_from_file_location("benchmark_scale", path)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def cells(out):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in out.splitlines()
        if re.match(r"\| [0-9]", line)
    ]


def test_rows(tmp_path):
    command = [sys.executable, path, "--rows", "2000", "500", "--workers", "2", "--folder", tmp_path]
    environment = {**os.environ, "PYTHONPATH": str(path.parents[1])}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [row[0] for row in cells(done.stdout)] == ["500", "2,000"]
    assert "from 500 to 2,000 rows, 2 workers grow by" in done.stdout and os.listdir(tmp_path) == []


def test_a_few_updates_leave_no_workers_behind(capsys, tmp_path):
    """Training and validation have two each, who stay: anew in each epoch and validation, they could add up."""
    script.main(["--rows", "--updates", "12", "--folder", str(tmp_path)])
    table = cells(capsys.readouterr().out)
    assert len(table) >= 2  # fewer than there are stretches: a fast machine leaves some unsampled
    assert all(float(row[1].replace(",", "")) > 50 for row in table)
    assert all(3 <= int(row[3]) <= 6 for row in table)
