"""examples/spin_hubert: units of Spin in the files that fairseq's own HuBERT pre-training reads."""

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

from spin_fairseq.errors import ManifestError
from spin_fairseq.speech.manifest import load_manifest
from tests.commands.running import spin_fairseq
from tests.librispeech_folder import librispeech_folder
from tests.small_hubert import NO_DROPOUT
from tests.spin_checkpoints import save_spin

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "spin_hubert" / "label_folder.py"
CLUSTERS = 30


@pytest.fixture(scope="module")
def label_folder():
    spec = importlib.util.spec_from_file_location("label_folder", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def units(speech_folder, tmp_path_factory):
    """Units of both splits, as `spin-fairseq units` writes them."""
    folder = tmp_path_factory.mktemp("units")
    checkpoint = save_spin(folder / "spin.pt", codebook_sizes=[CLUSTERS])
    for split in ("train", "dev"):
        manifest = speech_folder.data / f"{split}.tsv"
        assert spin_fairseq("units", checkpoint, manifest, "--out", folder / f"{split}.km") == 0
    return folder


def test_fairseq_reads_every_utterance_with_its_targets(label_folder, speech_folder, units, tmp_path):
    """Guards against a manifest with speakers, a dictionary that lacks units, and targets that fairseq drops as too short."""
    fairseq = pytest.importorskip("fairseq.tasks.hubert_pretraining")
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "dev"):  # with a third column
        root, *rows = (speech_folder.data / f"{split}.tsv").read_text().splitlines()
        (data / f"{split}.tsv").write_text("\n".join([root, *(f"{row}\tsomebody" for row in rows)]) + "\n")
    out = tmp_path / "labels"
    label_folder.main([
        "--data", str(data), "--units", str(units), "--clusters", str(CLUSTERS), "--out", str(out), "train", "dev"
    ])  # fmt: skip
    config = fairseq.HubertPretrainingConfig(
        data=str(out), label_dir=str(out), labels=["km"], label_rate=50.0, max_sample_size=160000, min_sample_size=800
    )
    task = fairseq.HubertPretrainingTask.setup_task(config)
    assert len(task.dictionaries[0]) == CLUSTERS + task.dictionaries[0].nspecial
    for split in ("train", "dev"):
        task.load_dataset(split)
        dataset, manifest = task.datasets[split], load_manifest(data, split)
        assert len(dataset) == len(manifest)
        for i, row in enumerate((units / f"{split}.km").read_text().splitlines()):
            item = dataset[i]
            assert len(item["source"]) == manifest.sizes[i]
            assert [int(task.dictionaries[0][label]) for label in item["label_list"][0]] == [
                int(u) for u in row.split()
            ]


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda folder: (folder / "dev.ids").write_text("other\n"), "has units of other utterances"),
        (lambda folder: (folder / "dev.km").write_text("1 2\n"), "has units of other utterances"),
        (lambda folder: (folder / "dev.km").write_text((folder / "dev.km").read_text().replace("1", "99")), "0 to 29"),
    ],
    ids=["names", "rows", "range"],
)
def test_units_of_something_else_are_refused(label_folder, speech_folder, units, tmp_path, edit, message):
    """Targets that are a row off train as well, on nothing."""
    for name in ("dev.km", "dev.ids"):
        (tmp_path / name).write_text((units / name).read_text())
    edit(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(ManifestError, match=message):
        label_folder.write_split(speech_folder.data, tmp_path, "dev", CLUSTERS, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture
def next_iteration(monkeypatch):
    for package in ("librosa", "matplotlib"):
        pytest.importorskip(package, reason="examples/demo/pretrain_base.py wants it")
    monkeypatch.setattr(sys, "path", [str(EXAMPLE.parent), str(EXAMPLE.parents[1] / "demo"), *sys.path])
    return importlib.import_module("next_iteration")


@pytest.mark.slow
def test_two_iterations_from_speech_to_page(next_iteration, make_hubert, tmp_path, monkeypatch):
    """One command: Spin, both kinds of targets, fairseq's pre-training on each, and every layer of what came of it."""
    monkeypatch.setattr(sys.modules["compare_depths"], "CLUSTERS", 8)
    speech = librispeech_folder(tmp_path / "speech", ("19", "26"), ("19", "26"))
    page = tmp_path / "PAGE.md"
    next_iteration.main([
        "--speech", str(speech), "--base", str(make_hubert(**NO_DROPOUT)), "--out", str(tmp_path / "out"), "--page", str(page),
        "--seeds", "1", "--updates", "1", "--pretrain-updates", "2", "--batch-seconds", "4", "--layer", "2",
        "task.min_sample_size=800", "task.max_sample_size=32000", "dataset.max_tokens=64000", "model.head_dims=[8]",
        "model.codebook_sizes=[8]", "model.freeze=[cnn,pos,1..2]", "model.codebook_init=random",
    ])  # fmt: skip
    text = page.read_text()
    assert "8 targets each, 2 updates of 4 s" in text and text.count("| HuBERT on Spin's units |") == 3
    folder = tmp_path / "out" / "seed_1"
    kmeans, spin = ((folder / f"labels_{name}" / "train.km").read_text() for name in ("kmeans", "spin"))
    assert kmeans != spin and len(kmeans.splitlines()) == len(spin.splitlines()) == 8
