"""The examples in every --help, run as they stand, on files of their names."""

import importlib
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from spin_fairseq.commands import VERBS
from tests.commands.running import spin_fairseq
from tests.report.small_report import make_results, make_run
from tests.checkpoints.test_reference_spin import make as make_reference
from tests.small_wavlm import save_microsoft_wavlm
from tests.spin_checkpoints import save_spin
from tests.synthetic_speech import synthetic_voice

DEMO = Path(__file__).parents[2] / "examples" / "demo"
EXAMPLES = [
    (verb, example) for verb in VERBS for example in importlib.import_module(f"spin_fairseq.commands.{verb}").EXAMPLES
]
SUBSETS = "train-clean-100 train-clean-360 train-other-500 dev-clean dev-other test-clean".split()
GRID = 'item [1]:\nname = "phones"\nintervals [1]:\nxmin = 0\nxmax = 0.4\ntext = "AA1"\n'
# What a verb's own examples write, and so must not be there yet.
MADE = {"prepare": ["data"], "pitch": ["data/mine/pitch.tsv"], "train": []}


def voices(folder, names, rate=16000):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        wave = synthetic_voice(110.0 + 30.0 * number, ["AA", "IY", "UW"], seed=number)
        soundfile.write(folder / name, np.tile(wave, 2), rate)


@pytest.fixture(scope="module")
def everything(speech_folder, make_hubert, tmp_path_factory):
    """A folder with all files that the examples name."""
    place, before = tmp_path_factory.mktemp("everything"), os.getcwd()
    for number, subset in enumerate(SUBSETS):
        voices(place / "LibriSpeech" / subset / str(number) / "1", [f"{number}-1-000{n}.flac" for n in range(2)])
        for n in range(2):
            (place / "alignments" / subset).mkdir(parents=True, exist_ok=True)
            (place / "alignments" / subset / f"{number}-1-000{n}.TextGrid").write_text(GRID)
    for session in (1, 2):
        voices(
            place / "my_audio" / f"session{session}", [f"{name}_{n}.wav" for name in ("ann", "bo") for n in range(2)]
        )
    voices(place / "more_audio", ["cy.wav"], rate=44100)
    shutil.copytree(speech_folder.data, place / "data" / "mine")
    for split in ("train", "dev"):
        rows = (speech_folder.data / f"{split}.tsv").read_text().splitlines()[1:]
        (place / "data" / "mine" / f"{split}.tsv").write_text(
            "\n".join([str(place / "data" / "mine" / "audio"), *rows]) + "\n"
        )
    shutil.copytree(speech_folder.phones, place / "data" / "mine" / "phones", dirs_exist_ok=True)
    shutil.copy(place / "data" / "mine" / "dev.tsv", place / "dev-clean.tsv")
    lines = (place / "dev-clean.tsv").read_text().splitlines()
    (place / "dev-other.tsv").write_text("\n".join([lines[0], *lines[4:]]) + "\n")
    (place / "dev-clean.tsv").write_text("\n".join(lines[:4]) + "\n")
    shutil.copy(speech_folder.phones / "dev.tsv", place / "labels.tsv")
    os.symlink(DEMO / "hubert_demo.pt", place / "hubert_demo.pt")
    shutil.copy(make_hubert(encoder_layers=10), place / "hubert_base_ls960.pt")
    save_microsoft_wavlm(place / "WavLM-Base.pt")
    make_reference(place / "spin_hubert_256.ckpt")
    for path in ("checkpoint_last.pt", "run_256/checkpoint_last.pt", "run_512/checkpoint_last.pt"):
        (place / path).parent.mkdir(exist_ok=True)
        save_spin(place / path)
    make_run(place / "outputs" / "demo")
    make_results(place / "outputs" / "demo" / "evaluation", speech_folder)
    assert (
        spin_fairseq(
            "pitch",
            *(place / "data" / "mine" / f"{s}.tsv" for s in ("train", "dev")),
            "--out",
            place / "data" / "mine" / "pitch.tsv",
        )
        == 0
    )
    save_spin(place / "spin_2048.pt")
    for split in ("train", "dev"):
        rows = [{"id": f"{split}-{n}", "units": [n % 3, 5, 4, 5, 4], "durations": [1, 2, 3, 1, 2]} for n in range(9)]
        (place / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.chdir(place)  # a shard remembers its command, whose paths are those of the example
    words = ["units", "checkpoint_last.pt", "data/mine/dev.tsv", "--out", "units.km"]
    assert [spin_fairseq(*words, "--shard", f"{number}/2") for number in (1, 2)] == [0, 0]
    os.chdir(before)
    return place


def slow(verb, example):
    heavy = verb == "evaluate" or (verb == "train" and "--dry-run" not in example)
    return pytest.param(verb, example, marks=[pytest.mark.slow] if heavy else [], id=" ".join(example.split()[1:])[:60])


@pytest.mark.parametrize("verb, example", [slow(*each) for each in EXAMPLES])
def test_an_example_works_as_it_stands(verb, example, everything, tmp_path, monkeypatch, capfd):
    if verb == "pieces":
        pytest.importorskip("tokenizers")
    if "--to onnx" in example:
        pytest.importorskip("onnx")
    place = tmp_path / "place"
    shutil.copytree(everything, place, symlinks=True)
    monkeypatch.chdir(place)
    for made in MADE.get(verb, []):
        shutil.rmtree(made) if os.path.isdir(made) else os.unlink(made)
    if verb == "train":  # utterances that are long enough
        shutil.rmtree("data/mine")
        words = ["--train", "train", "--dev", "dev", "--workers", 1]
        assert spin_fairseq("prepare", DEMO / "data", "--out", "data/mine", *words) == 0
        shutil.copytree(DEMO / "data" / "phones", "data/mine/phones")
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if " | " in example:  # what the program before the pipe would write
        before, example = example.split(" | ")
        wave = 0.3 * np.sin(np.arange(16000) / 20)
        soundfile.write("stdin", wave, 16000, "PCM_16", format="RAW" if "-t raw" in before else "WAV")
        monkeypatch.setattr("sys.stdin", open("stdin"))
    words = shlex.split(example.replace("\\\n", " "))
    assert words[:2] == ["spin-fairseq", verb]
    assert spin_fairseq(*words[1:]) == 0, capfd.readouterr().err[-3000:]
    if "--out" in words:
        assert Path(words[words.index("--out") + 1]).exists()
    if verb == "train" and "--dry-run" not in words:
        assert torch.load("outputs/try/checkpoint_last.pt", weights_only=False)["model"]
