"""A folder as people have it, from preparation to the report: odd names, and files that are none, or of every form."""

import os
import shutil

import numpy as np
import pytest
import soundfile

from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.training_command import training_command
from tests.commands.running import spin_fairseq
from tests.spin_checkpoints import save_spin
from tests.synthetic_speech import synthetic_voice

GOOD = {  # name: (sample rate, channels)
    b"J\xc3\xbcrgen/Aufnahme 01.wav": (16000, 1),
    b"J\xc3\xbcrgen/#1-x.wav": (48000, 1),
    b"a=b/k=v,w.flac": (44100, 2),
    b"a=b/-rf.wav": (8000, 1),
    b"latin/caf\xe9.wav": (16000, 1),  # not UTF-8
    b"latin/caf\xe9.ogg": (16000, 1),
    b"latin/quote ' \"$HOME`.wav": (16000, 1),
    b"latin/100% {a} [b]*?.wav": (16000, 1),
    b"latin/a:1:2.flac": (16000, 1),
}


@pytest.fixture
def messy(tmp_path, monkeypatch):
    """The folder `in #1 a=b, ü`, in the current folder."""
    if shutil.which("sox") is None:
        pytest.skip("needs the sox program")
    monkeypatch.chdir(tmp_path)
    root = os.fsencode("in #1 a=b, ü")

    def write(name, wave, rate=16000):
        os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
        soundfile.write(os.path.join(root, name), wave, rate)

    voices = [synthetic_voice(110 + 15 * n, ["AA", "IY", "UW", "EH"], seed=n) for n in range(len(GOOD))]
    for voice, (name, (rate, channels)) in zip(voices, GOOD.items()):
        wave = np.interp(np.arange(0, len(voice), 16000 / rate), np.arange(len(voice)), voice)
        write(name, np.stack([wave] * channels, 1), rate)
    for name in (b"bad/line\nbreak.wav", b"bad/ta\tb.wav", b"bad/cut.wav", b"bad/._x.wav", b".hidden/x.wav"):
        write(name, voices[0])
    cut = os.path.join(root, b"bad/cut.wav")
    with open(cut, "r+b") as file:
        file.truncate(os.path.getsize(cut) // 2)
    for name, content in ((b"bad/empty.wav", b""), (b"bad/text.wav", b"hello\n")):
        with open(os.path.join(root, name), "wb") as file:
            file.write(content)
    return os.fsdecode(root)


@pytest.mark.filterwarnings("ignore")
def test_every_verb_takes_a_messy_folder(messy, tmp_path, capsys):
    """Guards against a verb that stops at a name that the others take, or at a file that preparation left out."""
    data = "data #1 a=b, ü"
    prepare = ["prepare", messy, "--out", data, "--convert-to", f"{data}/16k", "--speaker-from", "top", "--workers", 1]
    assert spin_fairseq(*prepare, "--dev-fraction", 0.3) == 0
    assert sum(len(load_manifest(data, split)) for split in ("train", "dev")) == len(GOOD)
    broken = (tmp_path / data / "train.broken.txt").read_text().splitlines()
    assert len(broken) == 5 and "line\\nbreak.wav" in "".join(broken)

    tables = [f"{data}/train.tsv", f"{data}/dev.tsv"]
    pitch = f"{data}/pitch.tsv"
    assert spin_fairseq("pitch", *tables, "--out", pitch, "--workers", 1) == 0
    assert spin_fairseq("marks", *tables, "--speaker-pitch", pitch, "--out", f"{data}/marks", "--workers", 1) == 0
    assert spin_fairseq("pack", *tables, "--out", f"{data}/packed") == 0
    assert load_manifest(f"{data}/packed", "train").speakers() == load_manifest(data, "train").speakers()

    spin = save_spin(tmp_path / "spin #1=ü.pt").name
    assert spin_fairseq("units", spin, f"{data}/packed/dev.tsv", "--out", f"{data}/packed.km") == 0
    assert spin_fairseq("units", spin, f"{data}/dev.tsv", "--out", f"{data}/dev.km") == 0
    km, packed = ((tmp_path / data / name).read_text() for name in ("dev.km", "packed.km"))
    assert km == packed and len(km.splitlines()) == len(load_manifest(data, "dev"))
    measured = "results #1 a=b, ü"
    words = ["evaluate", spin, "--data", f"{data}/dev.tsv", "--out", measured, "--samples", 5, "--metrics", "tokens"]
    assert spin_fairseq(*words) == 0
    assert spin_fairseq("report", measured, "--out", "page #1 a=b, ü.html", "--utterances", 2) == 0
    assert "1 models, 0 trainings, 2 utterances" in capsys.readouterr().out

    overrides = [f"task.data={data}", f"model.checkpoint={spin}", f"task.speaker_pitch={pitch}"]
    command = training_command("spin_demo", overrides)
    assert any(data in word and word.startswith("task.data=") for word in command)
    assert spin_fairseq("train", "spin_demo", *overrides, "--dry-run") == 0
