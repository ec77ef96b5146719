import importlib
import json
import sys
from pathlib import Path

import pytest

from spin_fairseq.evaluation import groups as groups
from spin_fairseq.evaluation.corpus import load_corpus
from spin_fairseq.evaluation.runner import Evaluation
from spin_fairseq.evaluation.features.cache import FeatureCache
from spin_fairseq.evaluation.features.representations import EncoderSource, SpinSource
from spin_fairseq.evaluation.metrics.speakers import speaker_accuracy
from spin_fairseq.evaluation.features.specs import parse_specs
from tests.extracting import extract
from tests.spin_checkpoints import save_spin

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"


@pytest.fixture(scope="module")
def demo():
    """The demo's scripts."""
    sys.path.insert(0, str(DEMO))
    yield {name: importlib.import_module(name) for name in ("run_demo", "compare_codebooks")}
    sys.path.remove(str(DEMO))


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


def test_the_demos_summary(demo, evaluated, small_hubert):
    folder, train, dev, checkpoint = evaluated
    run_demo = demo["run_demo"]
    results = run_demo.summary(folder, dev, small_hubert, {"start": checkpoint, "spin": checkpoint})
    content = json.loads((folder / "results.json").read_text())
    layer = content["models"][1]["layer"]
    assert results["base"]["layer"] == layer
    assert [list(results[name])[:6] for name in results] == [run_demo.METRICS] * 4
    for model in content["models"]:
        assert results[model["name"]]["pnmi"] == model["metrics"]["phones"]["pnmi"]["value"]
        assert results[model["name"]]["speaker_nmi"] == model["metrics"]["speakers"]["speaker_nmi"]["value"]
    parts = run_demo.halves(dev.speakers)
    for name, source, of in (("base", EncoderSource(small_hubert), layer), ("spin", SpinSource(checkpoint), None)):
        rows = [row for (row,) in extract(source.compute([of]), source.output_lengths, dev)]
        split = [part for half in parts for part in ([rows[i] for i in half], [dev.speakers[i] for i in half])]
        assert results[name]["speaker_accuracy"] == pytest.approx(speaker_accuracy(*split), abs=0.02)
        wanted = speaker_accuracy(*split, width=32)
        assert results[name]["speaker_accuracy_equal_width"] == pytest.approx(wanted, abs=0.02)
    assert [results[name]["width"] for name in run_demo.MODELS] == [39, 64, 32, 32]
    assert run_demo.table(results, 12)[2].startswith(f"| PNMI | {results['mfcc']['pnmi']:.3f} | ")


def test_the_page_has_every_metric_of_every_size(demo, evaluated):
    content = json.loads((evaluated[0] / "results.json").read_text())
    page = demo["compare_codebooks"].page([content, content], "the command")
    assert page.count("## K = 12\n") == 2 and "    the command\n" in page
    rows = [row for row in page.splitlines() if row.startswith("| PNMI ↑ |")]
    (test,) = [row for row in content["paired"] if (row["metric"], row["a"], row["b"]) == ("pnmi", "base", "spin")]
    values = [f"{model['metrics']['phones']['pnmi']['value']:.3f} [" for model in content["models"]]
    assert len(rows) == 2 and all(value in rows[0] for value in values) and f"{test['difference']:+.3f} [" in rows[0]
    assert all(
        page.count(f"| {metric.title.replace('|', chr(92) + '|')} ") == 2 for metric in groups.GROUPS["phones"].metrics
    )


def test_sizes_that_are_there_are_not_run_again(demo, evaluated, tmp_path, monkeypatch):
    content = (evaluated[0] / "results.json").read_text()
    run = []

    def run_demo(arguments):
        run.append(arguments[-1])
        folder = Path(arguments[1])
        (folder / "evaluation").mkdir(parents=True)
        (folder / "results.json").write_text("{}")
        (folder / "evaluation" / "results.json").write_text(content)

    monkeypatch.setattr(demo["compare_codebooks"], "run_demo", run_demo)
    for sizes in (["12"], ["12", "24"]):
        demo["compare_codebooks"].main(
            ["--out", str(tmp_path), "--page", str(tmp_path / "page.md"), "--clusters", *sizes]
        )
    assert run == ["model.codebook_sizes=[12]", "model.codebook_sizes=[24]"]
    assert "compare_codebooks.py --clusters 12 24 --seed 1" in (tmp_path / "page.md").read_text()
