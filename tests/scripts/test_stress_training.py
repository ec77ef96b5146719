"""A handful of what `scripts/stress_training.py` does in earnest; its other faults are tried by the script alone."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "stress_training.py"


@pytest.mark.slow
def test_killed_runs_and_runs_without_workers_end_alike(speech_folder, small_hubert, tmp_path):
    result = subprocess.run(
        [
            sys.executable, SCRIPT, "--faults", "kill", "worker", "--kills", "3", "--updates", "6", "--count", "9",
            "--audio", speech_folder.data / "audio", "--base", small_hubert, "--out", tmp_path, "--patience", "120",
        ],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "| kill | 3 kills: " in result.stdout and "ended alike | passed |" in result.stdout
    assert result.stdout == (tmp_path / "stress.md").read_text()


def test_too_few_files(tmp_path):
    result = subprocess.run([sys.executable, SCRIPT, "--audio", tmp_path], capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.startswith("error: ") and "Traceback" not in result.stderr
