import json
import zipfile

import numpy as np
import pytest

from spin_fairseq.errors import ConfigError
from spin_fairseq.report import results as results_module
from spin_fairseq.report.results import Value, is_results, read_counts, read_results, read_units
from tests.report.small_report import CLUSTERS, make_results


def test_everything_is_read(results_folder):
    results = read_results(results_folder)
    spin, base = results.models
    assert is_results(results_folder) and results.finished and results.data["utterances"] == 6
    assert spin.metrics["phones"]["pnmi"] == Value(0.5, 0.48, 0.52)
    assert base.metrics["speakers"]["speaker_nmi"] == Value(None, reason="one speaker")
    assert base.about == f"k-means of hubert.pt, layer 2, K = {CLUSTERS}" and spin.about == f"Spin, K = {CLUSTERS}"
    assert results.layers[0].layers[1] == (2, {"pnmi": 0.2, "phone_purity": None})
    assert results.paired[0].p == 0.002
    counts, phones = read_counts(spin)
    assert counts.shape == (len(phones), CLUSTERS) and counts.sum() > 100
    name, units, durations = next(read_units(spin.units))
    assert "-dev-" in name and len(units) == len(durations) and min(durations) > 0


def test_what_may_be_missing(tmp_path):
    (tmp_path / "results.json").write_text('{"format": 2, "models": [{"name": "a", "units": "units/a.jsonl"}]}')
    results = read_results(tmp_path)
    (model,) = results.models
    assert model.units is None and read_counts(model) is None and model.metrics == {} and not results.finished
    assert results.manifest is None and results.phones is None and results.data["seconds"] is None


def test_nan_and_half_an_interval_are_nothing(tmp_path):
    text = '{"format": 2, "models": [{"name": "a", "metrics": {"s": {"x": {"value": NaN}, "y": {"value": 1, "low": 0}, "z": {"value": 1e999}}}}]}'
    (tmp_path / "results.json").write_text(text)
    metrics = read_results(tmp_path).models[0].metrics["s"]
    assert metrics == {"x": Value(None), "y": Value(1), "z": Value(None)}


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "cannot be read as JSON"),
        ('{"format": 2', "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", "holds no results"),
        ('{"format": 1}', "format is 1"),
        ('{"format": 2, "models": {}}', "'models' is {}"),
        ('{"format": 2, "models": [3]}', r"models\[0\] is 3"),
        ('{"format": 2, "models": [{"name": 3}]}', "'name' is 3"),
        ('{"format": 2, "models": [{"name": "a", "layer": "2"}]}', r"\(a\): 'layer' is 2, which is no int"),
        ('{"format": 2, "models": [{"name": "a", "layer": true}]}', "'layer' is True"),
        ('{"format": 2, "models": [{"name": "a", "metrics": {"s": {"x": 3}}}]}', "metrics of s, x is 3"),
        (
            '{"format": 2, "models": [{"name": "a", "metrics": {"s": {"x": {"value": "3"}}}}]}',
            "metrics of s, x: 'value'",
        ),
        (
            '{"format": 2, "models": [{"name": "a", "metrics": {"s": {"x": {"value": 1' + "0" * 400 + "}}}}]}",
            "larger than",
        ),
        ('{"format": 2, "models": [{"name": "a", "units": "../secret"}]}', "outside the folder"),
        ('{"format": 2, "models": [{"name": "a", "counts": "/etc/passwd"}]}', "outside the folder"),
        ('{"format": 2, "layers": [3]}', r"layers\[0\]"),
        ('{"format": 2, "paired": [{"p": "small"}]}', r"paired\[0\]: 'p'"),
        ('{"format": 2, "data": {"seconds": "long"}}', "data: 'seconds'"),
    ],
)
def test_damaged_results_name_the_place(tmp_path, text, words):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        read_results(tmp_path)
    assert "results.json" in str(error.value) and len(str(error.value)) < 600


def test_the_demos_own_results_are_no_evaluation(tmp_path):
    (tmp_path / "results.json").write_text('{"base": {}, "spin": {}}')
    assert not is_results(tmp_path) and not is_results(tmp_path / "none")


def damaged(speech_folder, folder, kind):
    path = make_results(folder, speech_folder, names=("a",)) / "counts" / "a.npz"
    good = dict(counts=np.ones((2, 3), int), phones=np.array(["A", "B"]))
    if kind == "bytes":
        path.write_bytes(b"nothing")
    elif kind == "half":
        path.write_bytes(path.read_bytes()[:-50])
    elif kind == "pickle":
        np.savez(path, counts=np.array([{}, {}]), phones=good["phones"])
    elif kind == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("counts.npy", bytes(1 << 21))
    else:
        np.savez(path, **{**good, **kind})
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "bytes",
        "half",
        "pickle",
        "bomb",
        {"counts": np.ones(2)},
        {"counts": -np.ones((2, 3), int)},
        {"phones": np.array(["A"])},
    ],
    ids=str,
)
def test_damaged_counts(tmp_path, speech_folder, kind, monkeypatch):
    monkeypatch.setattr(results_module, "LARGEST_COUNTS", 1 << 20)
    path = damaged(speech_folder, tmp_path, kind)
    (model,) = read_results(tmp_path).models
    with pytest.raises(
        ConfigError, match="larger than counts" if kind == "bomb" else "no counts|are not a table"
    ) as error:
        read_counts(model)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "3",
        "{}",
        '{"id": "a", "units": [1], "durations": [1, 2]}',
        '{"id": "a", "units": ["x"], "durations": [1]}',
        '{"id": 3, "units": [], "durations": []}',
        '{"id": "a", "units": [-1], "durations": [1]}',
    ],  # fmt: skip
)
def test_damaged_units_name_the_line(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"id": "a", "units": [1, 2], "durations": [3, 4]}) + "\n" + line + "\n")
    with pytest.raises(ConfigError, match="a.jsonl, line 2"):
        list(read_units(path))
