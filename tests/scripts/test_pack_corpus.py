"""The command line; what it writes is tested in tests/data/test_packing.py."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from spin_fairseq.speech.manifest import load_manifest

PATH = Path(__file__).parents[2] / "scripts" / "pack_corpus.py"
spec = importlib.util.spec_from_file_location("pack_corpus", PATH)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def test_help_starts_with_an_example(capsys):
    with pytest.raises(SystemExit) as stop:
        script.main(["--help"])
    assert stop.value.code == 0 and capsys.readouterr().out.startswith("usage: python scripts/pack_corpus.py data/")


def test_packs_several_manifests(speech_folder, tmp_path, capsys):
    out = tmp_path / "out"
    command = [str(speech_folder.data / "train.tsv"), str(speech_folder.data / "dev.tsv"), "--out", str(out)]
    assert script.main([*command, "--format", "tar", "--shard-size", "0.1M"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(out / "train.tsv"), str(out / "dev.tsv")]
    assert "12 utterances" in lines[0] and "archives" in lines[0] and "kept" not in lines[0]
    assert len(load_manifest(out, "train")) == 12 and len(load_manifest(out, "dev")) == 6
    assert script.main([*command, "--format", "tar", "--shard-size", "0.1M"]) == 0
    assert "kept" in capsys.readouterr().out


@pytest.mark.parametrize("size", ["0", "-1", "4X", "", "nan", "inf", "1e400"])
def test_sizes_that_are_none(size, capsys):
    with pytest.raises(SystemExit):
        script.main(["a.tsv", "--out", "o", "--shard-size", size])
    assert "is no size such as 4G" in capsys.readouterr().err


def test_errors_are_one_line(speech_folder, tmp_path, capsys):
    shutil.copytree(speech_folder.data, tmp_path / "data")
    assert script.main([str(tmp_path / "data" / "dev.tsv"), "--out", str(tmp_path / "data")]) == 1
    assert "error: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        script.main(["a/dev.tsv", "b/dev.tsv", "--out", str(tmp_path)])
    assert "the same name" in capsys.readouterr().err
