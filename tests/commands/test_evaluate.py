import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import homogeneity_score

from spin_fairseq.checkpoints import load_spin
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.manifest import load_manifest, write_manifest
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.evaluation import groups
from spin_fairseq.evaluation.clusters import align, cluster_quality
from tests.commands.running import spin_fairseq
from tests.overflowing import overflow
from tests.spin_checkpoints import save_spin

REPOSITORY = Path(__file__).resolve().parents[2]
CHEAP = ("--samples", 20, "--metrics", "phones,tokens")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_spin(tmp_path_factory.mktemp("spin") / "spin.pt")


@pytest.fixture
def evaluate(speech_folder, tmp_path, capsys):
    """evaluate(*arguments, phones=True) -> None, or its error, or 2 for a wrong command line; and results.json."""

    printed = SimpleNamespace()

    def run(*arguments, data=speech_folder.data / "dev.tsv", phones=speech_folder.phones):
        labels = ["--phones", phones] if phones else []
        capsys.readouterr()
        status = spin_fairseq("evaluate", "--data", data, *labels, "--out", tmp_path / "out", *arguments)
        printed.err = capsys.readouterr().err
        error = printed.err[printed.err.find("error: ") :].rstrip("\n")
        code = {0: None, 1: error}.get(status, status)
        results = tmp_path / "out" / "results.json"
        return code, json.loads(results.read_text()) if results.exists() else None

    run.printed = printed
    return run


def model_of(results, name):
    return next(model for model in results["models"] if model["name"] == name)


def test_units_and_metrics_are_those_of_the_model(evaluate, checkpoint, speech_folder, tmp_path):
    code, results = evaluate(*CHEAP, f"spin={checkpoint}")
    assert code is None and results["finished"]
    manifest, phones = load_manifest(speech_folder.data, "dev"), load_phone_labels(speech_folder.phones, "dev")
    model, pairs = load_spin(checkpoint), []
    rows = [json.loads(row) for row in (tmp_path / "out" / "units" / "spin.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows):
        with torch.no_grad():
            units = model.extract_units(torch.from_numpy(read_audio(manifest.path(i)))[None])[0].numpy()
        assert row["id"] == manifest.utterance_id(i)
        assert np.repeat(row["units"], row["durations"]).tolist() == units.tolist()
        pairs.append(align(phones[row["id"]], units, 0.02))
    labels, units = (np.concatenate(side) for side in zip(*pairs))
    metrics = model_of(results, "spin")["metrics"]["phones"]
    assert metrics["pnmi"]["value"] == pytest.approx(homogeneity_score(labels, units), abs=1e-9)
    for key, value in cluster_quality(labels, units).items():
        assert metrics[key]["value"] == pytest.approx(value, abs=1e-9)
        assert metrics[key]["low"] <= value <= metrics[key]["high"]
    cells = [cell for of_set in model_of(results, "spin")["metrics"].values() for cell in of_set.values()]
    assert all(cell["low"] <= cell["value"] <= cell["high"] for cell in cells if cell["value"] is not None)
    counts = np.load(tmp_path / "out" / "counts" / "spin.npz")
    assert counts["counts"].sum() == len(labels) and counts["counts"].shape == (len(counts["phones"]), 30)
    with open(tmp_path / "out" / "counts" / "spin.tsv", newline="") as file:
        best = list(csv.DictReader(file, delimiter="\t"))
    assert sum(int(row["frames"]) for row in best) == len(labels)
    purity = sum(float(row["fraction"]) * int(row["frames"]) for row in best) / len(labels)
    assert purity == pytest.approx(metrics["phone_purity"]["value"], abs=1e-4)


def test_keys_of_the_encoder_that_a_checkpoint_leaves_open_can_be_given(evaluate, checkpoint):
    """Guards against an evaluation by a guess, and against units kept from another one."""
    metrics = []
    for form in ("layer_norm_first=false", "layer_norm_first=true"):
        code, results = evaluate(*CHEAP, f"spin={checkpoint}", "--encoder", form)
        assert code is None
        metrics.append(model_of(results, "spin")["metrics"]["phones"]["pnmi"]["value"])
    assert metrics[0] != metrics[1]
    assert evaluate(*CHEAP, f"spin={checkpoint}", "--encoder", "heads=4")[0].startswith("error: --encoder heads=4")


def test_encoders_are_compared_and_the_best_layer_is_taken(evaluate, checkpoint, small_hubert, speech_folder, tmp_path):
    train = speech_folder.data / "train.tsv"
    models = [
        "mfcc+kmeans:k=9",
        f"base={small_hubert}+kmeans:k=9",
        f"inner={checkpoint}+kmeans:k=8:layer=2",
        f"{checkpoint}:codebook=1",
    ]
    code, results = evaluate(*CHEAP, "--train", train, *models)
    assert code is None
    assert [model["name"] for model in results["models"]] == ["mfcc-k9", "base", "inner", "spin-codebook1"]
    assert [model["clusters"] for model in results["models"]] == [9, 9, 8, 7]
    assert [model["width"] for model in results["models"]] == [39, 64, 64, 32]
    assert model_of(results, "inner")["layer"] == 2 and model_of(results, "mfcc-k9")["layer"] is None
    (sweep,) = results["layers"]
    pnmi = {row["layer"]: row["metrics"]["pnmi"] for row in sweep["layers"]}
    base = model_of(results, "base")
    assert sorted(pnmi) == [1, 2, 3] and base["layer"] == max(pnmi, key=pnmi.get)
    assert base["metrics"]["phones"]["pnmi"]["value"] == max(pnmi.values())
    with open(tmp_path / "out" / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * sum(len(groups.GROUPS[name].metrics) for name in ("phones", "tokens"))
    pairs = {(row["a"], row["b"]) for row in results["paired"]}
    assert len(pairs) == 6 and ("mfcc-k9", "base") in pairs
    page = (tmp_path / "out" / "results.md").read_text()
    assert "| PNMI ↑ |" in page and "H(phone \\| unit)" in page and f"fitted on `{train}`" in page


@pytest.mark.slow
def test_every_set(evaluate, checkpoint):
    code, results = evaluate("--samples", 20, f"spin={checkpoint}", "mfcc+kmeans:k=9")
    assert code is None
    for model in results["models"]:
        assert set(model["metrics"]) == set(groups.GROUPS) and not model["errors"]
        missing = {
            key: cell for cells in model["metrics"].values() for key, cell in cells.items() if cell["value"] is None
        }
        assert all(cell.get("reason") for cell in missing.values()), missing
        for name in groups.GROUPS:
            assert set(model["metrics"][name]) == {metric.key for metric in groups.GROUPS[name].metrics}


def test_a_command_given_again_does_only_what_is_new(evaluate, checkpoint, monkeypatch, tmp_path):
    first = evaluate(*CHEAP, f"spin={checkpoint}")[1]
    measured = []
    real = groups.GROUPS["tokens"].measure

    def counted(on_corpus):
        measured.append(on_corpus.extractor.spec.name)
        return real(on_corpus)

    monkeypatch.setitem(
        groups.GROUPS, "tokens", groups.MetricGroup("Units as tokens", groups.GROUPS["tokens"].metrics, counted)
    )
    again = evaluate(*CHEAP, f"spin={checkpoint}")[1]
    assert measured == [] and again["models"] == first["models"]
    evaluate(*CHEAP, f"spin={checkpoint}", "mfcc+kmeans:k=9")
    assert measured == ["mfcc-k9"]
    os.utime(checkpoint, (1, 1))  # another file, for all that one can tell
    evaluate(*CHEAP, f"spin={checkpoint}")
    evaluate("--samples", 30, "--metrics", "phones,tokens", f"spin={checkpoint}")
    assert measured == ["mfcc-k9", "spin", "spin"]


@pytest.mark.slow
def test_a_killed_command_goes_on(evaluate, speech_folder, checkpoint, tmp_path):
    models = [f"spin={checkpoint}", *(f"mfcc+kmeans:k={k}" for k in range(2, 10))]
    arguments = [
        "--data",
        speech_folder.data / "dev.tsv",
        "--phones",
        speech_folder.phones,
        "--out",
        tmp_path / "out",
        *CHEAP,
        *models,
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "spin_fairseq", "evaluate", *map(str, arguments)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    part = tmp_path / "out" / "parts" / "mfcc-k2" / "phones.json"
    until = time.time() + 300
    while not part.exists() and process.poll() is None and time.time() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    written = part.stat().st_mtime_ns
    assert not json.loads((tmp_path / "out" / "results.json").read_text())["finished"]
    code, resumed = evaluate(*CHEAP, *models)
    assert code is None and resumed["finished"] and part.stat().st_mtime_ns == written
    shutil.rmtree(tmp_path / "out")
    whole = evaluate(*CHEAP, *models)[1]
    assert resumed["paired"] == whole["paired"]
    assert [model["metrics"] for model in resumed["models"]] == [model["metrics"] for model in whole["models"]]


def test_one_models_failure_leaves_the_others(evaluate, checkpoint, small_hubert, tmp_path):
    nonsense, poisoned = tmp_path / "nonsense.pt", tmp_path / "poisoned.pt"
    nonsense.write_bytes(b"no checkpoint at all")
    state = torch.load(checkpoint, weights_only=False)
    overflow(state["model"], "encoder.encoder.layers.1")
    torch.save(state, poisoned)
    wrong = {
        "nonsense": (nonsense, "nonsense.pt: not a readable checkpoint"),
        "missing": (tmp_path / "gone.pt", "gone.pt: no such checkpoint"),
        "poisoned": (poisoned, "poisoned.pt gives NaN or infinite features for"),
        "bare": (small_hubert, "+kmeans"),
        "book": (f"{checkpoint}:codebook=2", "codebook 2"),
        "layer": (f"{small_hubert}+kmeans:layer=4:k=5", "layer 4"),
        "many": (f"{small_hubert}+kmeans:layer=1:k=100000", "100000 clusters"),
    }
    code, results = evaluate(*CHEAP, *(f"{name}={spec}" for name, (spec, _) in wrong.items()), f"good={checkpoint}")
    assert code.startswith("error: ") and all(name in code for name in wrong) and "good" not in code
    for name, (_, words) in wrong.items():
        model = model_of(results, name)
        assert words in model["errors"]["units"] and not model["metrics"]
    assert model_of(results, "good")["metrics"]["phones"]["pnmi"]["value"] > 0
    page = (tmp_path / "out" / "results.md").read_text()
    assert "## Errors" in page and "nonsense.pt" in page


def test_a_failing_set_leaves_the_others(evaluate, checkpoint, monkeypatch):
    def fail(subject):
        raise ZeroDivisionError("nothing to divide by")

    monkeypatch.setitem(groups.GROUPS, "phones", groups.MetricGroup("Phones", groups.GROUPS["phones"].metrics, fail))
    code, results = evaluate(*CHEAP, f"spin={checkpoint}")
    model = model_of(results, "spin")
    assert "spin" in code and model["errors"] == {"phones": "ZeroDivisionError: nothing to divide by"}
    assert model["metrics"]["tokens"]["bitrate"]["value"] > 0


def test_without_labels_the_rest_is_measured(evaluate, checkpoint, small_hubert, tmp_path):
    code, results = evaluate(*CHEAP, f"spin={checkpoint}", f"base={small_hubert}+kmeans:k=9", phones=None)
    assert code is None and results["data"]["phones"] is None and results["data"]["labelled"] == 0
    for model in results["models"]:
        assert model["metrics"]["phones"]["pnmi"] == {
            "value": None,
            "low": None,
            "high": None,
            "reason": groups.NO_LABELS,
        }
        assert model["metrics"]["tokens"]["boundary_f1"]["value"] is None
        assert model["metrics"]["tokens"]["bitrate"]["value"] > 0
    page = (tmp_path / "out" / "results.md").read_text()
    assert f"Not measured. Why: {groups.NO_LABELS}." in page and "| boundary F1" not in page and "| bitrate" in page
    assert "; boundary F1; " in page
    base = model_of(results, "base")
    assert base["layer"] == 3 and "no phone labels" in base["note"] and not results["layers"]


def test_with_some_labels_phones_are_those_of_the_labelled(evaluate, checkpoint, speech_folder, tmp_path):
    rows = (speech_folder.phones / "dev.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "some.tsv").write_text("".join(rows[:4]))
    results = evaluate(*CHEAP, f"spin={checkpoint}", phones=tmp_path / "some.tsv")[1]
    some = model_of(results, "spin")["metrics"]
    manifest = load_manifest(speech_folder.data, "dev")
    write_manifest(tmp_path / "four.tsv", manifest.root, manifest.rows(range(4)))
    shutil.rmtree(tmp_path / "out")
    four = model_of(
        evaluate(*CHEAP, f"spin={checkpoint}", data=tmp_path / "four.tsv", phones=tmp_path / "some.tsv")[1], "spin"
    )["metrics"]
    assert some["phones"] == four["phones"]
    assert some["tokens"]["boundary_f1"] == four["tokens"]["boundary_f1"]
    assert some["tokens"]["bitrate"]["value"] != four["tokens"]["bitrate"]["value"]


def test_bad_data_and_options_stop_at_once(evaluate, checkpoint, speech_folder, tmp_path):
    (tmp_path / "empty.tsv").write_text(f"{speech_folder.data}\n")
    (tmp_path / "others.tsv").write_text("somebody-else\tAA\n")
    for word, options in [
        ("empty.tsv", {"data": tmp_path / "empty.tsv"}),
        ("others.tsv: no labels for any utterance", {"phones": tmp_path / "others.tsv"}),
    ]:
        code, results = evaluate(*CHEAP, checkpoint, **options)
        assert code.startswith("error: ") and word in code and not (tmp_path / "out").exists()
    for word, arguments in [
        ("two models", ("mine=a.pt", "mine=b.pt")),
        ("in the way", ("--out", tmp_path / "in the way" / "out")),
    ]:
        (tmp_path / "in the way").write_text("")
        code, _ = evaluate(*CHEAP, checkpoint, *arguments)
        assert code.startswith("error: ") and word in code and "\n" not in code
    for word, arguments in [
        ("--device nowhere", ("--device", "nowhere")),
        ("nonsense", ("--metrics", "nonsense")),
        ("--samples", ("--samples", 0)),
        ("--level", ("--level", 1)),
    ]:
        assert evaluate(checkpoint, *arguments)[0] == 2
        assert word in evaluate.printed.err


def test_the_page_of_definitions_has_every_metric(capsys):
    assert spin_fairseq("evaluate", "--definitions") == 0
    page = capsys.readouterr().out
    assert page == (REPOSITORY / "docs" / "metrics.md").read_text(), "make docs/metrics.md anew, as it says"
    for metric in groups.METRICS.values():
        assert f"`{metric.key}`" in page


def test_an_evaluation_that_is_stopped_at_once_leaves_its_command(
    checkpoint, speech_folder, tmp_path, monkeypatch, capsys
):
    """The folder had no results.json yet, and the report could not say what to give again."""
    monkeypatch.setattr(
        "spin_fairseq.evaluation.runner.Evaluation._model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    out = tmp_path / "out"
    words = ["evaluate", "--data", speech_folder.data / "dev.tsv", "--out", out, checkpoint, *CHEAP]
    assert spin_fairseq(*words) not in (0, 1)
    assert spin_fairseq("report", out, "--out", tmp_path / "a.html") == 1
    assert (
        "measured nothing yet. It goes on where it stopped: give its command again: spin-fairseq evaluate"
        in capsys.readouterr().err
    )
