"""That the benchmark runs and compares equal results; its figures are for quiet machines."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch


def test_on_a_tiny_model(capsys, monkeypatch):
    pytest.importorskip("transformers")
    path = Path(__file__).resolve().parents[2] / "scripts" / "benchmark_extraction.py"
    spec = importlib.util.spec_from_file_location("benchmark_extraction", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # the other tests keep theirs
    script.main(["--small", "--utterances", "2", "--seconds", "2", "--repeats", "1"])
    out = capsys.readouterr().out
    assert float(re.search(r"difference of features ([\d.e+-]+)", out)[1]) < 1e-3
    assert float(re.search(r"ratio +([\d.]+)", out)[1]) > 0
    products = re.search(r"nothing but its products: ([\d.]+) s/s, ([\d.]+) times transformers", out)
    assert float(products[1]) > 0 and float(products[2]) > 0
