import io
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spin_fairseq.checkpoints import load_spin
from spin_fairseq.extraction.streaming import StreamingSpin
from tests.commands.running import spin_fairseq
from tests.speech.test_piped_audio import wav
from tests.spin_checkpoints import save_spin

RATE = 16000
WAVE = (0.1 * np.random.default_rng(0).standard_normal(2 * RATE)).clip(-1, 1).astype(np.float32)
PCM = (WAVE * 32767).astype("<i2")
CONTEXT = ["--chunk-ms", 200, "--look-ahead-ms", 100, "--left-context-ms", 400]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_spin(tmp_path_factory.mktemp("spin") / "checkpoint_last.pt")


@pytest.fixture(scope="module")
def expected(checkpoint):
    stream = StreamingSpin(load_spin(checkpoint), chunk_ms=200, look_ahead_ms=100, left_context_ms=400)
    return torch.cat([stream.push(PCM).units, stream.flush().units]).tolist()


def piped(monkeypatch, data, *words):
    file = SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(data)), isatty=lambda: False, fileno=lambda: -1)
    monkeypatch.setattr(sys, "stdin", file)
    return spin_fairseq("units", *words)


def test_a_line_for_each_chunk(checkpoint, expected, monkeypatch, capsys):
    """Guards against lines that depend on how much the pipe holds, and against units that are lost between lines."""
    assert piped(monkeypatch, wav(WAVE), checkpoint, "-", *CONTEXT) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [len(line.split()) for line in lines[:-1]] == [10] * (len(lines) - 1)
    assert [int(unit) for line in lines for unit in line.split()] == expected


def test_raw_audio_and_times(checkpoint, expected, monkeypatch, capsys):
    words = [checkpoint, "-", "--sample-rate", RATE, *CONTEXT, "--times", "--quiet"]
    assert piped(monkeypatch, PCM.tobytes(), *words) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [time for time, _ in rows[:3]] == ["0.000", "0.200", "0.400"]
    assert [int(unit) for _, units in rows for unit in units.split()] == expected


def test_a_line_for_each_run(checkpoint, expected, monkeypatch, capsys):
    """Guards against a run that is cut where a chunk ends, and against a last run that is never printed."""
    assert piped(monkeypatch, wav(WAVE), checkpoint, "-", *CONTEXT, "--times", "--deduplicate") == 0
    found = []
    for line in capsys.readouterr().out.splitlines():
        begin, end, unit = line.split("\t")
        assert round(float(begin) / 0.02) == len(found) and (not found or found[-1] != int(unit))
        found += [int(unit)] * round((float(end) - float(begin)) / 0.02)
    assert found == expected


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["-", "--out", "x.km"], 2, "--out is for files"),
        (["-", "--attention-seconds", 60], 2, "--attention-seconds is for files"),
        (["data", "--out", "x.km", "--times"], 2, "--times is for standard input"),
        (["data"], 2, "--out is missing"),
        (["-", "--chunk-ms", -1], 1, "chunk_ms is -1"),
        (["-", "--codebook", 7], 1, "codebook is 7"),
        (["-", "--channel", 2], 1, "no channel 2"),
    ],
)
def test_options_of_the_other_way_are_refused(checkpoint, words, status, message, monkeypatch, capsys):
    assert piped(monkeypatch, wav(WAVE), checkpoint, *words) == status
    assert message in capsys.readouterr().err


def started(checkpoint, *words):
    """The command as a process that reads a pipe."""
    command = [sys.executable, "-m", "spin_fairseq", "units", checkpoint, "-", "--sample-rate", RATE, *CONTEXT, *words]
    return subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def test_units_come_before_the_audio_ends_and_ctrl_c_prints_the_rest(checkpoint, expected):
    """Guards against output that waits in a buffer, and against units of the last second that Ctrl-C throws away."""
    process = started(checkpoint)
    process.stdin.write(PCM.tobytes())
    process.stdin.flush()
    first = process.stdout.readline()  # the pipe is still open
    while len(first.split()) < len(expected) - 15:  # all that needs no end
        first += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert [int(unit) for unit in (first + out).split()] == expected
    assert process.returncode == 130 and b"Traceback" not in error


def test_a_reader_that_leaves_ends_it_quietly(checkpoint):
    process = started(checkpoint)
    process.stdin.write(PCM.tobytes())
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    try:
        for _ in range(20):
            process.stdin.write(PCM.tobytes())
            process.stdin.flush()
        process.stdin.close()
    except BrokenPipeError:
        pass
    process.wait(60)
    assert b"Error" not in process.stderr.read()
