"""spin-fairseq pieces, from files of units and from a model."""

import json

import numpy as np
import pytest

from spin_fairseq.speech.acoustic_pieces import AcousticPieces
from spin_fairseq.speech.manifest import load_manifest
from tests.commands.running import spin_fairseq
from tests.small_pieces import write_unit_file
from tests.spin_checkpoints import save_spin

pytest.importorskip("tokenizers", reason="comes with the extra pieces")


def test_pieces_of_a_model_are_those_of_its_units(speech_folder, tmp_path, capsys):
    """Guards against two ways that give different targets."""
    spin = save_spin(tmp_path / "spin.pt")
    manifests = [speech_folder.data / f"{split}.tsv" for split in ("train", "dev")]
    for manifest in manifests:
        assert spin_fairseq("units", spin, manifest, "--out", tmp_path / f"{manifest.stem}.km") == 0
    options = ["--vocabulary", 70]
    by_model = ["pieces", *manifests, "--model", spin, "--out", tmp_path / "model", *options]
    assert spin_fairseq(*by_model) == 0
    said = capsys.readouterr().out
    codes = json.loads((tmp_path / "model" / "pieces.json").read_text())["codes"]
    assert f"{codes} units" in said and "70 that were asked for" in said
    files = [tmp_path / f"{split}.km" for split in ("train", "dev")]
    assert spin_fairseq("pieces", *files, "--out", tmp_path / "units", "--codes", codes, *options) == 0
    for split in ("train", "dev"):
        for suffix in (".bin", ".len", ".ids"):
            one, other = (tmp_path / kind / f"{split}{suffix}" for kind in ("model", "units"))
            assert one.read_bytes() == other.read_bytes()
        manifest, pieces = load_manifest(speech_folder.data, split), AcousticPieces(tmp_path / "model", split)
        assert len(pieces.rows_of(manifest)) == len(manifest) and pieces.frame_samples == 320
    assert spin_fairseq(*by_model) == 0  # nothing is left to do
    other = save_spin(tmp_path / "other.pt")
    assert spin_fairseq("pieces", *manifests, "--model", other, "--out", tmp_path / "model", *options) == 1
    assert "units of another model" in capsys.readouterr().err
    assert (
        spin_fairseq("pieces", *manifests, "--model", other, "--out", tmp_path / "model", *options, "--overwrite") == 0
    )


def test_errors_are_one_line(speech_folder, tmp_path, capsys):
    file = write_unit_file(speech_folder.data, "train", tmp_path)
    for words, status, message in [
        ((tmp_path / "gone.km",), 1, "gone.km: no such file"), ((file, file), 2, "have the same name"),
        ((file, "--vocabulary", 5), 1, "--vocabulary is 5"), ((file, "--codes", 3), 1, "--codes says how many"),
        ((file, "--codebook", 1), 0, ""), ((file, "--vocabulary", 50), 1, "--overwrite replaces them"),
        ((file, "--vocabulary", 50, "--overwrite"), 0, ""),
    ]:  # fmt: skip
        assert spin_fairseq("pieces", *words, "--out", tmp_path / "out") == status
        error = capsys.readouterr().err
        assert message in error and error.count("\n") <= 1
    lengths = np.loadtxt(tmp_path / "out" / "train.len", dtype=int)
    assert (tmp_path / "out" / "train.bin").stat().st_size == 2 * lengths.sum()
