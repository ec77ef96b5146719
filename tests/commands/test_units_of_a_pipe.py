import io
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spin_fairseq.checkpoints import load_spin
from spin_fairseq.commands import units_of_a_pipe
from spin_fairseq.extraction.streaming import StreamingSpin
from spin_fairseq.speech.standard_input import Readable, stopped_between_pieces
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


class Recorder:
    """Writes into a real pipe, and presses Ctrl-C when so many units are printed; the pipe stays open."""

    def __init__(self, monkeypatch, data, units):
        reading, self.writing = os.pipe()
        self.file = os.fdopen(reading)
        monkeypatch.setattr(sys, "stdin", self.file)
        monkeypatch.setattr(units_of_a_pipe, "_printed", self.printed)
        self.lines, self.units, self.done = [], units, threading.Event()
        self.writer = threading.Thread(target=self.write, args=(data,))

    def write(self, data):
        with os.fdopen(self.writing, "wb", buffering=0) as file:
            file.write(data)
            self.done.wait(60)

    def printed(self, line):
        self.lines.append(line)
        if sum(len(line.split()) for line in self.lines) >= self.units:
            # While the program waits for more, as a person would; the pipe is still open.
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            self.units = float("inf")


def test_units_come_before_the_audio_ends_and_ctrl_c_prints_the_rest(checkpoint, expected, monkeypatch, capsys):
    """Guards against units that wait for the end, and against those of the last moment that Ctrl-C throws away."""
    recorder = Recorder(monkeypatch, PCM.tobytes(), len(expected) - 15)  # all that does not wait for look-ahead
    recorder.writer.start()
    before = signal.getsignal(signal.SIGINT)
    try:
        status = spin_fairseq("units", checkpoint, "-", "--sample-rate", RATE, *CONTEXT)
    finally:
        recorder.done.set()
        recorder.writer.join()
        recorder.file.close()
    assert status == 130 and capsys.readouterr().err == "" and signal.getsignal(signal.SIGINT) is before
    assert [int(unit) for unit in " ".join(recorder.lines).split()] == expected


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_in_a_computation_waits_for_it_once(presses):
    """Guards against a chunk that is lost in the middle, and against a program that cannot be ended."""
    with stopped_between_pieces() as stopped:
        signal.raise_signal(signal.SIGINT)
        assert stopped.asked
        if presses == 2:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert Readable(io.BytesIO(b"more"), stopped).read1(4) == b""


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it_quietly(checkpoint):
    """Guards against a traceback after `| head`."""
    words = [sys.executable, "-m", "spin_fairseq", "units", checkpoint, "-", "--sample-rate", RATE, *CONTEXT]
    pipe = subprocess.PIPE
    with subprocess.Popen(list(map(str, words)), stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            process.stdin.write(PCM.tobytes())
            process.stdin.flush()
            assert process.stdout.readline()
            process.stdout.close()
            for _ in range(20):
                process.stdin.write(PCM.tobytes())
                process.stdin.flush()
        except BrokenPipeError:
            pass
        _, error = process.communicate(timeout=60)
        assert b"Error" not in error and b"error" not in error
