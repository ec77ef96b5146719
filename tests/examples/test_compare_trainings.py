"""compare_dcspin.py and compare_depths.py: several trainings over seeds, and the tables of them."""

import argparse
import json
import math
import shlex
from pathlib import Path

import pytest

from tests.librispeech_folder import librispeech_folder
from tests.small_hubert import NO_DROPOUT

SMALL = [
    "task.min_sample_size=800", "task.max_sample_size=32000", "dataset.max_tokens=64000", "model.head_dims=[8]",
    "model.freeze=[cnn,pos,1..2]", "model.codebook_init=random",
]  # fmt: skip


@pytest.fixture(scope="module")
def demo(demo_module):
    """demo(name) -> a module of examples/demo."""
    return demo_module


def test_differences_are_those_within_a_seed(demo):
    """Guards against errors of differences that are as wide as the spread of the seeds, and against a wrong sign."""
    runs = {"a": [{"x": 0.3}, {"x": 0.4}, {"x": 0.5}], "b": [{"x": 0.2}, {"x": 0.3}, {"x": 0.39}]}
    rows = demo("trainings").table(runs, {"x": ("X", True)})
    error = math.sqrt(sum((d + 0.31 / 3) ** 2 for d in (-0.1, -0.1, -0.11)) / 2 / 3)
    assert rows[0] == "| | X ↑ |" and rows[2] == "| a | 0.400 ± 0.058 |"
    assert rows[3] == f"| b | 0.297 ± 0.055 (-0.103 ± {error:.3f}) |"
    assert demo("trainings").table({"a": runs["a"][:1]}, {"x": ("X", None)})[2] == "| a | 0.300 |"


def test_the_command_on_a_page_makes_that_page(demo):
    """Guards against a table that its own command does not make, since an option is left out."""
    trainings = demo("trainings")
    parser = argparse.ArgumentParser()
    trainings.add_arguments(parser, "runs")
    parser.add_argument("--batch-seconds", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs=2, default=[50, 400])
    given = ["--seeds", "1", "--updates", "7", "--batch-seconds", "4", "--sizes", "6", "9", "optimization.lr=[0.1]"]
    line = trainings.command_line("demo/script.py", parser.parse_args(given), parser)
    assert line == (
        "python examples/demo/script.py --seeds 1 --updates 7 --batch-seconds 4 --sizes 6 9 'optimization.lr=[0.1]'"
    )
    assert parser.parse_intermixed_args(shlex.split(line)[2:]) == parser.parse_intermixed_args(given)


def test_a_comparison_writes_no_page_of_the_repository_unless_told(demo, tmp_path):
    """Guards against a command on other speech, or another base, that overwrites the tables that are published."""
    trainings = demo("trainings")
    parser = argparse.ArgumentParser()
    trainings.add_arguments(parser, "runs")
    given = ["--speech", str(librispeech_folder(tmp_path / "speech")), "--out", str(tmp_path / "out")]
    assert trainings.parse_arguments(parser, given).page == tmp_path / "out" / "results.md"
    assert trainings.parse_arguments(parser, [*given, "--page", "PAGE.md"]).page == Path("PAGE.md")


def test_what_is_trained_at_each_depth(demo):
    """A row without decay must be one with the same layers; the last two alone have none below to slow down."""
    found = demo("compare_depths").trainings(6, 0.5)
    assert found == {
        "layers 5, 6": ["model.freeze=[cnn,pos,1..4]"],
        "layers 1 to 6": ["model.freeze=[cnn,pos]"],
        "layers 1 to 6, decay 0.5": ["model.freeze=[cnn,pos]", "model.layer_lr_decay=0.5"],
        "everything": ["model.freeze=[]"],
        "everything, decay 0.5": ["model.freeze=[]", "model.layer_lr_decay=0.5"],
        "everything, acoustic pieces": ["model.freeze=[]", "task.pieces=PIECES"],
    }


def test_each_layer_is_measured_as_it_is(demo, tmp_path, small_hubert, monkeypatch):
    """Guards against layers that are mixed up, and a measurement that is read from another checkpoint's file."""
    from spin_fairseq.evaluation.corpus import load_corpus

    compare = demo("compare_depths")
    monkeypatch.setattr(compare, "CLUSTERS", 10)
    speech = librispeech_folder(tmp_path / "speech", ("19", "26"), ("19", "26"))
    demo("trainings").write_manifests(speech, tmp_path)
    corpora = load_corpus([tmp_path / "train.tsv"]), load_corpus([tmp_path / "dev.tsv"], [speech / "phones"])
    measured = compare.measure(small_hubert, *corpora, 1)
    assert list(measured) == [1, 2, 3] and len({row["pnmi"] for row in measured.values()}) == 3
    for row in measured.values():
        assert row.keys() == compare.METRICS.keys() and all(0 <= value <= 1 for value in row.values())
    assert not list(small_hubert.parent.glob("measured*"))
    lines = compare.layer_tables({"base": [measured, measured]}, compare.METRICS)
    assert lines[3] == "| | layer 1 | layer 2 | layer 3 |"
    assert lines[5] == "| base | " + " | ".join(f"{measured[n]['pnmi']:.3f} ± 0.000" for n in (1, 2, 3)) + " |"


@pytest.mark.slow
def test_dcspin_from_speech_to_page(demo, tmp_path, make_hubert):
    """One command: two trainings, units of the primary codebook, and a page with the command on it."""
    speech = librispeech_folder(tmp_path / "speech")
    out, page = tmp_path / "out", tmp_path / "PAGE.md"
    demo("compare_dcspin").main([
        "--speech", str(speech), "--base", str(make_hubert(**NO_DROPOUT)), "--out", str(out), "--page", str(page),
        "--seeds", "1", "--updates", "2", "--sizes", "6", "9", *SMALL,
    ])  # fmt: skip
    results = json.loads((out / "results.json").read_text())
    assert list(results) == ["primary, 6", "primary, 6, beside auxiliary, 9"]
    for (run,) in results.values():
        assert 0 < run["pnmi"] < 1 and 0 < run["bits"] <= math.log2(6) + 1
    text = page.read_text()
    assert (
        "compare_dcspin.py --seeds 1 --updates 2" in text and "--sizes 6 9" in text and text.count("| primary, 6") == 2
    )
