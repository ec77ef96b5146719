"""What the demo and real_speech measure of MFCCs, base, start and Spin, and the table of it."""

import json
import math

import pytest

from spin_fairseq.evaluation.corpus import load_corpus
from spin_fairseq.evaluation.runner import Evaluation

from spin_fairseq.evaluation.features.cache import FeatureCache
from spin_fairseq.evaluation.features.representations import EncoderSource, SpinSource
from spin_fairseq.evaluation.metrics.speakers import speaker_accuracy
from spin_fairseq.evaluation.features.specs import parse_specs
from tests.extracting import extract
from tests.spin_checkpoints import save_spin


@pytest.fixture(scope="module")
def demo(demo_module):
    """A module of the demo."""
    return demo_module("four_models")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, speech_folder, small_hubert):
    """-> folder of an evaluation as the demo's, corpora, checkpoint; tiny, and of phones alone."""
    folder = tmp_path_factory.mktemp("demo")
    checkpoint = save_spin(folder / "spin.pt", codebook_sizes=[12])
    train, dev = (
        load_corpus([speech_folder.data / "train.tsv"]),
        load_corpus([speech_folder.data / "dev.tsv"], [speech_folder.phones]),
    )
    specs = parse_specs(
        ["mfcc=mfcc+kmeans:k=12", f"base={small_hubert}+kmeans:k=12", f"start={checkpoint}", f"spin={checkpoint}"]
    )
    evaluation = Evaluation(
        folder / "evaluation", dev, specs, ["phones", "speakers"], FeatureCache(folder / "evaluation" / "cache"), train=train, samples=20,
        about={"command": "the command", "versions": {}},
    )  # fmt: skip
    assert evaluation.run()
    return folder / "evaluation", train, dev, checkpoint


def test_the_four_are_measured(demo, evaluated, small_hubert):
    """Guards against metrics of another model, a layer that is not the one of the units, and accuracies at unequal widths."""
    folder, train, dev, checkpoint = evaluated
    results = demo.measured(folder, folder / "cache", dev, small_hubert, {"start": checkpoint, "spin": checkpoint})
    content = json.loads((folder / "results.json").read_text())
    layer = content["models"][1]["layer"]
    assert list(results) == list(demo.MODELS) and results["base"]["layer"] == layer
    for model in content["models"]:
        row = results[model["name"]]
        assert demo.METRICS.keys() <= row.keys()
        assert row["pnmi"] == model["metrics"]["phones"]["pnmi"]["value"]
        assert row["speaker_nmi"] == model["metrics"]["speakers"]["speaker_nmi"]["value"]
        assert row["speaker_nmi_above_chance"] == pytest.approx(row["speaker_nmi"] - row["speaker_nmi_chance"])
        assert row["ued_pitch"] is None  # was not among the groups
    parts = demo.halves(dev.speakers)
    for name, source, of in (("base", EncoderSource(small_hubert), layer), ("spin", SpinSource(checkpoint), None)):
        rows = [row for (row,) in extract(source.compute([of]), source.output_lengths, dev)]
        split = [part for half in parts for part in ([rows[i] for i in half], [dev.speakers[i] for i in half])]
        assert results[name]["speaker_accuracy"] == pytest.approx(speaker_accuracy(*split), abs=0.02)
        wanted = speaker_accuracy(*split, width=32)
        assert results[name]["speaker_accuracy_equal_width"] == pytest.approx(wanted, abs=0.02)
    assert [results[name]["width"] for name in demo.MODELS] == [39, 64, 32, 32]


def test_halves_have_other_utterances_of_the_same_speakers(demo):
    """Guards against a classifier that is asked about what it was fitted on, or about a speaker it never heard."""
    assert demo.halves(["a", "b", "a", "a", "b"]) == ([0, 1, 3], [2, 4])


def result_of(demo, **values):
    """A result of `measured` in which each model has one value for all metrics."""
    return {name: dict.fromkeys(demo.METRICS, values[name]) for name in demo.MODELS}


def test_differences_of_the_table_are_those_within_a_seed(demo):
    """Guards against errors of differences that are as wide as the spread of the seeds, and against a wrong sign."""
    results = [
        result_of(demo, mfcc=base, base=base, start=base, spin=spin)
        for base, spin in ((0.30, 0.20), (0.40, 0.30), (0.50, 0.39))
    ]
    rows = demo.table(results)
    error = math.sqrt(sum((x + 0.31 / 3) ** 2 for x in (-0.1, -0.1, -0.11)) / 2 / 3)
    assert (
        rows[0]
        == "| | MFCC, k-means | base, k-means | Spin, start | Spin | Spin - base | Spin - start | training's change |"
    )
    assert [row[:17] for row in rows if "**" in row] == ["| **phones kept**", "| **speakers gone"]
    assert rows[3].startswith("| PNMI ↑ | 0.400 ± 0.058 | 0.400 ± 0.058 |")
    assert rows[3].endswith(f"| -0.103 ± {error:.3f} | -26 % |")
    assert demo.table(results[:1])[3].endswith("| 0.300 | 0.200 | -0.100 | -0.100 | -33 % |")
    assert demo.table(results[:1], brief=True)[3] == "| PNMI ↑ | 0.300 | 0.300 | 0.300 | 0.200 | -33 % |"
    results[0]["spin"]["speaker_accuracy"] = None  # too few utterances of a speaker
    assert demo.table(results)[-1].endswith("| 0.400 ± 0.058 | – | – | – | – |")


def test_the_sentences_compare_with_the_start_and_with_the_base(demo):
    """Guards against a comparison with the base alone, which hides what the k-means start has done already."""
    result = result_of(demo, mfcc=0.2, base=0.5, start=0.4, spin=0.3)
    result["spin"]["speaker_nmi_above_chance"] = 0.1
    text = demo.meaning(result)
    assert "phones (PNMI) by -25.0 %, what they say of speakers, beyond chance by -75.0 %" in text
    assert "Beside k-means units of the base, the three differ by -40.0 %, -80.0 % and -40.0 %" in text
