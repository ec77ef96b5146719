"""The command line; what it writes is tested in tests/preparation/test_packing.py."""

import shutil

import pytest

from spin_fairseq.speech.manifest import load_manifest
from tests.commands.running import spin_fairseq


def test_packs_several_manifests(speech_folder, tmp_path, capsys):
    out = tmp_path / "out"
    command = [str(speech_folder.data / "train.tsv"), str(speech_folder.data / "dev.tsv"), "--out", str(out)]
    assert spin_fairseq("pack", *command, "--format", "tar", "--shard-size", "0.1M") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(out / "train.tsv"), str(out / "dev.tsv")]
    assert "12 utterances" in lines[0] and "archives" in lines[0] and "kept" not in lines[0]
    assert len(load_manifest(out, "train")) == 12 and len(load_manifest(out, "dev")) == 6
    assert spin_fairseq("pack", *command, "--format", "tar", "--shard-size", "0.1M") == 0
    assert "kept" in capsys.readouterr().out


@pytest.mark.parametrize("size", ["0", "-1", "4X", "", "nan", "inf", "1e400"])
def test_sizes_that_are_none(size, capsys):
    assert spin_fairseq("pack", "a.tsv", "--out", "o", f"--shard-size={size}") == 2
    assert "is no size such as 4G" in capsys.readouterr().err


def test_errors_are_one_line(speech_folder, tmp_path, capsys):
    shutil.copytree(speech_folder.data, tmp_path / "data")
    assert spin_fairseq("pack", tmp_path / "data" / "dev.tsv", "--out", tmp_path / "data") == 1
    assert "error: " in capsys.readouterr().err
    assert spin_fairseq("pack", "a/dev.tsv", "b/dev.tsv", "--out", tmp_path) == 2
    assert "the same name" in capsys.readouterr().err
