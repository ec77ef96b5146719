"""examples/real_speech: from a folder of speech shaped like LibriSpeech to the table of base, start and Spin."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from spin_fairseq.checkpoints import load_spin
from tests.librispeech_folder import librispeech_folder
from tests.small_hubert import NO_DROPOUT

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "real_speech" / "compare.py"
SMALL = [
    "task.min_sample_size=800", "task.max_sample_size=32000", "dataset.max_tokens=64000", "dataset.num_workers=0",
    "model.codebook_sizes=[8]", "model.head_dims=[8]",
]  # fmt: skip
REAL_SPEECH = os.environ.get("SPIN_REAL_SPEECH")


@pytest.fixture(scope="module")
def compare():
    path = sys.path.copy()
    spec = importlib.util.spec_from_file_location("real_speech_compare", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = path


def test_utterances_without_labels_leave_the_manifest(compare, tmp_path):
    """Guards against a validation that stops at the first utterance without labels, and against one that has none left."""
    (tmp_path / "dev.tsv").write_text("/speech\ndev/1/1-1-0000.flac\t16000\ndev/1/1-1-0001.flac\t16000\n")
    (tmp_path / "labels.tsv").write_text("1-1-0001\tAA,AA\n1-1-0002\tAA\n")
    assert compare.keep_labelled(tmp_path / "dev.tsv", tmp_path / "labels.tsv") == 1
    assert (tmp_path / "dev.tsv").read_text() == "/speech\ndev/1/1-1-0001.flac\t16000\n"
    (tmp_path / "labels.tsv").write_text("9-1-0001\tAA,AA\n")
    with pytest.raises(SystemExit, match="no labels for any utterance of .*dev.tsv"):
        compare.keep_labelled(tmp_path / "dev.tsv", tmp_path / "labels.tsv")


def test_all_but_the_last_layers_are_frozen(compare):
    """Guards against a base of another depth whose trained layers are not the last ones."""
    assert compare.training_keys(6, 3, 50)[0] == "model.freeze=[cnn,pos,1..3]"
    assert compare.training_keys(3, 3, 50)[0] == "model.freeze=[cnn,pos]"


@pytest.mark.slow
def test_from_a_folder_of_speech_to_the_table(compare, tmp_path, make_hubert):
    """Guards against a start that has already learnt, and against splits or seeds whose rows are mixed up."""
    speech = librispeech_folder(tmp_path / "speech")
    out = tmp_path / "out"
    arguments = ["--speech", speech, "--base", make_hubert(**NO_DROPOUT), "--out", out, "--seeds", 3, "--updates", 4,
                 "--trained-layers", 1, "--test", "train", *SMALL]  # fmt: skip
    compare.main([str(argument) for argument in arguments])
    results = json.loads((out / "results.json").read_text())
    assert [row["seed"] for row in results["dev"]] == [row["seed"] for row in results["train"]] == [3]
    assert results["dev"][0]["base"]["layer"] == results["train"][0]["base"]["layer"]
    evaluated = json.loads((out / "seed_3" / "dev" / "results.json").read_text())
    assert evaluated["data"]["utterances"] == 3  # the fourth has no labels
    (pnmi,) = [model["metrics"]["phones"]["pnmi"]["value"] for model in evaluated["models"] if model["name"] == "spin"]
    assert results["dev"][0]["spin"]["pnmi"] == pnmi

    start, spin = (load_spin(out / "seed_3" / name / "checkpoint_last.pt") for name in ("start", "spin"))
    base = compare.load_encoder(make_hubert(**NO_DROPOUT))
    weights = [dict(encoder.named_parameters()) for encoder in (base, start.encoder, spin.encoder)]
    same = [name for name in weights[0] if (weights[0][name] == weights[1][name]).all()]
    assert set(same) == set(weights[0])  # the start is the base, with head and prototypes
    changed = {name for name in weights[0] if (weights[0][name] != weights[2][name]).any()}
    assert changed and all("layers.2." in name for name in changed), sorted(changed)

    text = (out / "results.md").read_text()
    assert "## dev, 1 seeds" in text and "## train, 1 seeds" in text
    before = (out / "seed_3" / "spin" / "checkpoint_last.pt").stat().st_mtime_ns
    compare.main([str(argument) for argument in arguments])  # nothing is trained again
    assert (out / "seed_3" / "spin" / "checkpoint_last.pt").stat().st_mtime_ns == before
    assert (out / "results.md").read_text() == text


@pytest.mark.slow
@pytest.mark.skipif(not REAL_SPEECH, reason="SPIN_REAL_SPEECH names no folder of real speech shaped like LibriSpeech")
def test_real_speech(compare, tmp_path):
    """Guards against files, labels or speakers of real speech that the commands do not take."""
    base = EXAMPLE.parents[1] / "demo" / "base" / "hubert_real.pt"
    arguments = [
        "--speech",
        REAL_SPEECH,
        "--base",
        base,
        "--out",
        tmp_path,
        "--seeds",
        1,
        "--updates",
        2,
        "dataset.max_tokens=320000",
    ]
    compare.main([str(argument) for argument in arguments])
    (row,) = json.loads((tmp_path / "results.json").read_text())["dev"]
    assert row["mfcc"]["pnmi"] < row["base"]["pnmi"] and 0.3 < row["start"]["pnmi"] < 0.5
    assert row["start"]["speaker_accuracy"] < row["base"]["speaker_accuracy"]
