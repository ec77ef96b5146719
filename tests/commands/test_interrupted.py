"""Ctrl-C, as a terminal sends it: to the command and all processes that it started."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from spin_fairseq.speech.manifest import write_manifest
from tests.fairseq_runs import hydra_command
from tests.spin_checkpoints import save_spin
from tests.synthetic_speech import synthetic_voice

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def interrupted(words, folder, when):
    """Start `spin-fairseq WORDS` in `folder`, and send SIGINT once `when()` holds -> exit status, what it said at last."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "spin_fairseq", *map(str, words)]
    with open(folder / "stderr", "w") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )  # fmt: skip
        try:
            end = time.monotonic() + 240
            while not when():
                assert process.poll() is None, (folder / "stderr").read_text()[-3000:]
                assert time.monotonic() < end, "waited in vain"
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
            status = process.wait(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return status, (folder / "stderr").read_text().splitlines()[-1]


def assert_told(status, said, verb, kept, again):
    """The line names what is kept, and a command."""
    assert status == 130
    found = re.fullmatch(rf"stopped: (.*); to go on: (spin-fairseq {verb} .*)", said)
    assert found and kept in found[1]
    assert [str(word) for word in again] == shlex.split(found[2])[2:]


@pytest.fixture
def many(tmp_path):
    """A manifest whose rows are one file, 3,000 times."""
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a-0.wav", synthetic_voice(120.0, ["AA", "IY"] * 5), 16000)
    for n in range(1, 3000):
        os.link(tmp_path / "audio" / "a-0.wav", tmp_path / "audio" / f"a-{n}.wav")
    write_manifest(tmp_path / "dev.tsv", tmp_path / "audio", [(f"a-{n}.wav", 32000) for n in range(3000)])
    return tmp_path


def test_units(many):
    words = [save_spin(many / "spin.pt"), many / "dev.tsv", "--out", many / "dev.km"]
    progress = many / "dev.km.progress"
    assert_told(*interrupted(["units", *words], many, progress.exists), "units", "utterances finished so far", words)
    assert progress.exists() and not (many / "dev.km").exists()


def test_prepare(many):
    words = [many / "audio", "--out", many / "data", "--convert-to", many / "flac", "--workers", 2]
    done = lambda: len(list((many / "flac").glob("*.flac"))) > 20  # noqa: E731
    assert_told(
        *interrupted(["prepare", *words], many, done), "prepare", "finished conversions", [*words, "--overwrite"]
    )
    assert not (many / "data" / "train.tsv").exists()


def test_marks(many):
    words = [many / "dev.tsv", "--out", many / "marks", "--workers", 2]
    done = lambda: len(list((many / "marks" / ".dev.marks.parts").glob("[!.]*.marks"))) > 1  # noqa: E731
    assert_told(*interrupted(["marks", *words, "--overwrite"], many, done), "marks", "marks measured so far", words)
    assert (many / "marks" / ".dev.marks.parts").exists()


def test_train(speech_folder, small_hubert, tmp_path):
    config, *overrides = hydra_command(speech_folder, small_hubert, tmp_path / "run", "optimization.max_update=100000")[
        4:
    ]
    words = [config, *(word for word in overrides if not word.startswith("common.user_dir"))]
    saved = tmp_path / "run" / "checkpoints" / "checkpoint_last.pt"
    assert_told(
        *interrupted(["train", *words], tmp_path, saved.exists), "train", "checkpoints that fairseq saved", words
    )
    assert saved.exists()
