"""The table of a base's layers beside MFCCs, on a small folder of speech shaped like LibriSpeech."""

import json
import shutil

import numpy as np
import pytest

from spin_fairseq.evaluation.clusters import cluster_quality
from tests.librispeech_folder import librispeech_folder

pytest.importorskip("librosa", reason="measuring a base wants librosa, which `make setup` does not install")
pytest.importorskip("matplotlib", reason="measuring a base wants matplotlib")


@pytest.fixture(scope="module")
def measure_base(demo_module):
    return demo_module("measure_base")


def test_units_that_are_the_phones_have_a_pnmi_of_one(measure_base):
    """Guards against labels and units that are off by a frame or repeated wrongly."""
    rng = np.random.default_rng(1)
    phones = [np.repeat(rng.integers(0, 4, 200), 2) for _ in range(6)]  # 10-ms labels that change every 20 ms
    of_phone = np.array([[20.0 * phone, -7.0 * phone] for phone in range(4)])
    features = [of_phone[row[::2]] + 0.1 * rng.standard_normal((200, 2)) for row in phones]
    speakers = ["a", "b"] * 3
    figures = measure_base.unit_figures(features, features, phones, speakers, 4, 2)
    assert figures["pnmi"]["runs"] == [1.0, 1.0, 1.0]
    names = np.repeat(speakers, 400)
    assert figures["speaker_nmi"]["runs"][0] == pytest.approx(
        cluster_quality(names, np.concatenate(phones))["pnmi"], abs=1e-4
    )


@pytest.mark.slow
def test_the_table_has_every_layer_of_every_checkpoint(measure_base, tmp_path, make_hubert):
    """Guards against checkpoints that overwrite each other's rows, and against speaker accuracies of speakers never heard."""
    speech = librispeech_folder(tmp_path / "speech", dev_speakers=("84", "116"))
    checkpoints = {"one": make_hubert(), "two": make_hubert(encoder_layers=2, seed=1)}
    measure_base.measure(checkpoints, speech, tmp_path / "figures", clusters=(8,), centred=True)
    figures = json.loads((tmp_path / "figures" / "figures.json").read_text())
    assert figures["utterances"] == {"train": 8, "dev": 3}  # one of dev has no labels
    assert list(figures["mfcc"]) == ["mfcc_100hz", "mfcc_50hz", "mfcc_normalized_100hz", "mfcc_normalized_50hz"]
    assert [len(table) for table in figures["models"].values()] == [6, 4]
    assert figures["models"]["one"]["layer_1"] != figures["models"]["two"]["layer_1"]
    assert "speaker_accuracy_frames" not in figures["models"]["one"]["layer_1"]
    row = figures["models"]["two"]["layer_2_centred"]["k8"]["pnmi"]
    text = f"| two, layer 2 centred | {row['mean']:.3f} ± {row['std']:.3f} |".replace(" 0.", " .")
    assert text in (tmp_path / "figures" / "figures.md").read_text()

    shutil.copytree(speech / "train", speech / "again")
    (speech / "phones" / "again.tsv").write_text((speech / "phones" / "train.tsv").read_text())
    measure_base.measure({"one": make_hubert()}, speech, tmp_path / "seen", dev="again", clusters=(8,))
    seen = json.loads((tmp_path / "seen" / "figures.json").read_text())["models"]["one"]["layer_1"]
    assert 0 < seen["speaker_accuracy_frames"] <= 1
