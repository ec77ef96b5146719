import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch

SCRIPTS = Path(__file__).parents[2] / "scripts"


def main_of(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "corpus"
    for subset, speaker in (("train", 19), ("dev", 84)):
        folder = root / subset / str(speaker) / "7"
        folder.mkdir(parents=True)
        for n in range(2):
            soundfile.write(folder / f"{speaker}-7-000{n}.flac", np.full(4000, 0.1), 16000)
    (root / "SPEAKERS.TXT").write_text("19 | F | train\n84 | M | dev\n")
    return root


@pytest.mark.parametrize("name", ["prepare_librispeech", "prepare_manifest"])
def test_help_starts_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main_of(name)(["--help"])
    assert stop.value.code == 0 and capsys.readouterr().out.startswith(f"usage: python scripts/{name}.py /")


def test_prepare_librispeech(tree, tmp_path, capsys):
    grid = 'item [1]:\nname = "phones"\nintervals [1]:\nxmin = 0\nxmax = 0.1\ntext = "AA1"\n'
    for speaker in (19, 84):
        (tree / f"{speaker}-7-0001.TextGrid").write_text(grid)
    out = tmp_path / "data"
    arguments = [str(tree), "--out", str(out), "--train", "train", "--dev", "dev", "--split", "all", "train", "dev"]
    assert main_of("prepare_librispeech")([*arguments, "--jobs", "1", "--phones", str(tree)]) == 0
    assert [len(load_manifest(out, split)) for split in ("train", "dev", "all")] == [2, 1, 2]
    assert load_phone_labels(out / "phones", "all").symbols == ["AA", "SIL"]
    assert load_speaker_pitch(out / "SPEAKERS.TXT").range("84") == (75, 250)
    assert "train: 2 utterances" in capsys.readouterr().out


def test_prepare_librispeech_says_what_is_missing(tree, tmp_path, capsys):
    assert main_of("prepare_librispeech")([str(tree), "--out", str(tmp_path / "data")]) == 1
    assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "data").exists()


def test_prepare_manifest(tree, tmp_path, capsys):
    out = str(tmp_path / "data")
    arguments = [str(tree), "--out", out, "--split", "some", "--valid-percent", "25", "--valid-split", "held"]
    assert main_of("prepare_manifest")([*arguments, "--jobs", "1", "--speaker-from", "folder", "--seed", "3"]) == 0
    assert [len(load_manifest(out, split)) for split in ("some", "held")] == [3, 1]
    assert load_manifest(out, "some").speaker(0) == "7" and "some: 3 utterances" in capsys.readouterr().out


def test_prepare_manifest_errors(tmp_path, capsys):
    assert main_of("prepare_manifest")([str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(SystemExit):
        main_of("prepare_manifest")([str(tmp_path), "--out", str(tmp_path), "--valid-percent", "101"])
