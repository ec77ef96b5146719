"""That the benchmark runs, whole, on a CPU; its numbers are for GPUs."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from tests.fairseq_runs import skip_with_hydra_1_0


@pytest.fixture
def script():
    path = Path(__file__).resolve().parents[2] / "scripts" / "benchmark_gpu.py"
    spec = importlib.util.spec_from_file_location("benchmark_gpu", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["hubert", "wavlm"])
def test_every_part(script, encoder, tmp_path, capsys):
    pytest.importorskip("transformers")
    skip_with_hydra_1_0()
    out = tmp_path / "gpu.json"
    script.main(
        ["--device", "cpu", "--small", "--steps", "1", "--codebook", "20", "--encoder", encoder, "--out", str(out)]
    )
    results = json.loads(out.read_text())
    assert set(results["parts"]) == set(script.PARTS) and not any("error" in part for part in results["parts"].values())
    steps = results["parts"]["step"]
    for precision in ("float32", "bf16"):
        assert steps[precision]["flop"] > 1e8 and steps[precision]["seconds"] > steps[precision]["floor_seconds"] > 0
        assert results["parts"]["reference"][precision]["seconds"] > 0
    assert (
        results["parts"]["units"]["float32"]["units_changed"] == 0 < results["parts"]["units"]["bf16"]["audio_a_second"]
    )
    table = capsys.readouterr().out
    assert "5,000 updates:" in table and "units, bf16" in table


def test_a_part_that_fails_is_named_and_the_others_are_measured(script, tmp_path, capsys, monkeypatch):
    def failing(bench):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(script, "voices", failing)
    out = tmp_path / "gpu.json"
    with pytest.raises(SystemExit) as leaving:
        script.main(["--device", "cpu", "--small", "--parts", "voices", "card", "--out", str(out)])
    assert leaving.value.code == 1 and "failed: RuntimeError: CUDA out of memory" in capsys.readouterr().out
    parts = json.loads(out.read_text())["parts"]
    assert "CUDA out of memory" in parts["voices"]["error"] and parts["card"]["flops_float32"] > 0


def test_parts_are_left_out_when_the_time_is_over(script, capsys):
    script.main(["--device", "cpu", "--small", "--parts", "card", "--minutes", "0"])
    assert "left out: the time was over" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(script, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        script.main([])
    assert "there is no CUDA device; --device cpu --small tries the script itself" in capsys.readouterr().err
