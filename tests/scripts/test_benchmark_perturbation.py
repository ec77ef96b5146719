"""That the benchmark of voices runs beside busy processes and leaves none; in a process of its own, as it pins itself to a CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_perturbation.py"


@pytest.mark.slow
def test_beside_a_busy_process(speech_folder):
    pytest.importorskip("parselmouth", reason="comes with the extra `praat`")
    command = [sys.executable, "-W", "ignore", SCRIPT, speech_folder.data / "dev.tsv", "--busy", 1, "--seconds", 0.5, 9]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(
        [*map(str, command), "--utterances", "2", "--repeats", "0"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "times as fast as praat, whole path |" in done.stdout and "| equaliser |" in done.stdout
    short = subprocess.run([*map(str, command[:-1]), "0.6"], env=environment, capture_output=True, text=True)
    assert short.returncode == 1 and "has no utterance of such a length" in short.stderr
