import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"


@pytest.fixture(scope="module")
def run_seeds():
    sys.path.insert(0, str(DEMO))
    yield importlib.import_module("run_seeds")
    sys.path.remove(str(DEMO))


def result(run_seeds, seed, base, spin):
    return {
        "seed": seed,
        "clusters": 256,
        "base": {**dict.fromkeys(run_seeds.METRICS, base), "layer": 2},
        "spin": dict.fromkeys(run_seeds.METRICS, spin),
    }


def test_mean_error_and_difference(run_seeds):
    results = [result(run_seeds, seed, *pair) for seed, pair in enumerate([(0.4, 0.5), (0.42, 0.5), (0.44, 0.53)])]
    row = run_seeds.summary(results)["pnmi"]
    assert row["base"] == pytest.approx((0.42, np.sqrt(0.0004 / 3)))
    assert row["difference"][0] == pytest.approx(0.09)
    assert row["difference"][1] == pytest.approx(np.std([0.1, 0.08, 0.09], ddof=1) / np.sqrt(3))


def test_the_page_shows_each_seed_and_the_command(run_seeds):
    results = [result(run_seeds, seed, 0.4, 0.5 + 0.01 * seed) for seed in (1, 2, 3)]
    page = run_seeds.markdown(run_seeds.summary(results), results, "the command")
    assert "    the command\n" in page
    assert "| PNMI | 0.400 ± 0.000 | 0.520 ± 0.006 | +0.120 ± 0.006 |" in page
    assert all(f"| {seed} | 0.400 | {0.5 + 0.01 * seed:.3f} |" in page for seed in (1, 2, 3))


def test_two_trainings_are_compared_seed_by_seed(run_seeds):
    results = [result(run_seeds, seed, 0.4, spin) for seed, spin in enumerate([0.40, 0.42, 0.44])]
    others = [result(run_seeds, seed, 0.4, spin) for seed, spin in enumerate([0.41, 0.43, 0.46])]
    page = run_seeds.markdown_beside(results, others, ["task.perturbation=praat"])
    assert "## Beside task.perturbation=praat" in page
    assert "| PNMI | 0.420 ± 0.012 | 0.433 ± 0.015 | +0.013 ± 0.003 |" in page


def test_each_set_of_keys_has_folders_of_its_own(run_seeds, tmp_path, monkeypatch):
    def run_demo(arguments):
        folder = Path(arguments[1])
        folder.mkdir()
        (folder / "results.json").write_text(
            json.dumps({"arguments": arguments[2:], "spin": dict.fromkeys(run_seeds.METRICS, 0)})
        )

    monkeypatch.setattr(run_seeds, "run_demo", run_demo)
    keys = ["task.a=b/c", "task.long=" + 300 * "x"]  # longer than the name of a folder may be
    plain, other = (run_seeds.results_of([1, 2], tmp_path, chosen) for chosen in ([], keys))
    assert [run["arguments"] for run in plain] == [["--seed", "1"], ["--seed", "2"]]
    assert [run["arguments"] for run in other] == [["--seed", "1", *keys], ["--seed", "2", *keys]]
    assert len(list(tmp_path.iterdir())) == 4 and (tmp_path / "demo_seed_1").is_dir()
