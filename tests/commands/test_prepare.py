import numpy as np
import pytest
import soundfile

from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from tests.commands.running import spin_fairseq


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


def test_prepare_librispeech(tree, tmp_path, capsys):
    grid = 'item [1]:\nname = "phones"\nintervals [1]:\nxmin = 0\nxmax = 0.1\ntext = "AA1"\n'
    for speaker in (19, 84):
        (tree / f"{speaker}-7-0001.TextGrid").write_text(grid)
    out = tmp_path / "data"
    arguments = [str(tree), "--out", str(out), "--train", "train", "--dev", "dev", "--subsets", "all", "train", "dev"]
    assert spin_fairseq("prepare", *arguments, "--workers", 1, "--phones", tree) == 0
    assert [len(load_manifest(out, split)) for split in ("train", "dev", "all")] == [2, 1, 2]
    assert load_phone_labels(out / "phones", "all").symbols == ["AA", "SIL"]
    assert load_speaker_pitch(out / "SPEAKERS.TXT").range("84") == (75, 250)
    assert "train: 2 utterances" in capsys.readouterr().out


def test_prepare_librispeech_says_what_is_missing(tree, tmp_path, capsys):
    assert spin_fairseq("prepare", tree, "--out", tmp_path / "data") == 1
    assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "data").exists()


def test_any_folder(tree, tmp_path, capsys):
    (tree / "SPEAKERS.TXT").unlink()
    out = tmp_path / "data"
    arguments = [tree, "--out", out, "--split", "some", "--dev-fraction", 0.25, "--dev-split", "held"]
    assert spin_fairseq("prepare", *arguments, "--workers", 1, "--speaker-from", "folder", "--seed", 3) == 0
    assert [len(load_manifest(out, split)) for split in ("some", "held")] == [3, 1]
    assert load_manifest(out, "some").speaker(0) == "7" and "some: 3 utterances" in capsys.readouterr().out


def test_the_layout_can_be_said(tree, tmp_path):
    """Guards against a folder that is read as what it is not, with no way out."""
    assert spin_fairseq("prepare", tree, "--out", tmp_path / "any", "--no-librispeech", "--workers", 1) == 0
    assert len(load_manifest(tmp_path / "any", "train")) == 4
    (tree / "SPEAKERS.TXT").unlink()
    out = tmp_path / "tree"
    assert (
        spin_fairseq("prepare", tree, "--out", out, "--librispeech", "--train", "train", "--dev", "dev", "--workers", 1)
        == 0
    )
    assert [len(load_manifest(out, split)) for split in ("train", "dev")] == [2, 2]


def test_options_of_the_other_layout_are_refused(tree, tmp_path, capsys):
    """Guards against an option that is taken and has no effect."""
    assert spin_fairseq("prepare", tree, "--out", tmp_path / "data", "--convert-to", tmp_path / "flac") == 2
    assert "--convert-to does not go with LibriSpeech" in capsys.readouterr().err
    assert spin_fairseq("prepare", tree / "train", "--out", tmp_path / "data", "--phones", tree) == 2
    assert "--phones does not go with any folder" in capsys.readouterr().err
    assert spin_fairseq("prepare", tree, tree, "--out", tmp_path / "data", "--librispeech") == 2
    assert "one folder" in capsys.readouterr().err and not (tmp_path / "data").exists()


def test_errors(tmp_path, capsys):
    assert spin_fairseq("prepare", tmp_path / "none", "--out", tmp_path) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert spin_fairseq("prepare", tmp_path, "--out", tmp_path, "--dev-fraction", 1.5) == 2
