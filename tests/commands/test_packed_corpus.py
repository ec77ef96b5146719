"""The commands on a packed corpus: they make of it what they make of the files."""

from dataclasses import replace

import pytest

from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.preparation.packing import pack
from tests.commands.running import spin_fairseq
from tests.fairseq_runs import assert_same_weights, hydra_command, run, weights
from tests.spin_checkpoints import save_spin


@pytest.fixture(scope="module")
def packed(speech_folder, tmp_path_factory):
    """The synthetic speech, packed."""
    out = tmp_path_factory.mktemp("packed")
    for split, form in (("train", "tar"), ("dev", "zip")):
        pack(load_manifest(speech_folder.data, split), out, form=form, largest=200_000)
    return replace(speech_folder, data=out)


def test_units(speech_folder, packed, tmp_path):
    checkpoint = save_spin(tmp_path / "checkpoint_last.pt")
    for name, data in (("plain", speech_folder.data), ("packed", packed.data)):
        assert spin_fairseq("units", checkpoint, data / "dev.tsv", "--out", tmp_path / f"{name}.km") == 0
    for suffix in (".km", ".ids"):
        assert (tmp_path / f"packed{suffix}").read_bytes() == (tmp_path / f"plain{suffix}").read_bytes()


def test_pitch_ranges_and_marks(speech_folder, packed, tmp_path):
    for name, data in (("plain", speech_folder.data), ("packed", packed.data)):
        table, manifests = tmp_path / f"{name}.tsv", [data / "train.tsv", data / "dev.tsv"]
        assert spin_fairseq("pitch", *manifests, "--out", table, "--workers", 1, "--seed", 0) == 0
        options = ["--speaker-pitch", table, "--out", tmp_path / name, "--workers", 1]
        assert spin_fairseq("marks", *manifests, *options) == 0
    assert (tmp_path / "plain.tsv").read_text() == (tmp_path / "packed.tsv").read_text()
    for split in ("train.marks", "dev.marks"):
        assert (tmp_path / "plain" / split).read_bytes() == (tmp_path / "packed" / split).read_bytes()


@pytest.mark.slow
def test_training(speech_folder, packed, small_hubert, tmp_path):
    for name, speech in (("plain", speech_folder), ("packed", packed)):
        run(
            hydra_command(speech, small_hubert, tmp_path / name, "dataset.num_workers=2", "optimization.max_update=3"),
            tmp_path / name,
        )
    assert_same_weights(
        *(weights(tmp_path / name / "checkpoints" / "checkpoint_last.pt") for name in ("plain", "packed"))
    )
