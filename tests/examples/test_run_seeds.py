import json
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def run_seeds(demo_module):
    return demo_module("run_seeds")


def result(run_seeds, seed, start, spin):
    values = {"mfcc": 0.1, "base": 0.2, "start": start, "spin": spin}
    rows = {
        name: {**dict.fromkeys(run_seeds.METRICS, value), "speaker_nmi_chance": 0.01, "width": 64}
        for name, value in values.items()
    }
    return {**rows, "base": {**rows["base"], "layer": 2}, "seed": seed, "clusters": 100, "speakers": 9}


def test_the_page_has_the_command_the_table_and_what_it_means(run_seeds):
    """Guards against a page whose sentences are of one seed while its table is of all, and one that no command makes."""
    results = [result(run_seeds, seed, 0.4, 0.2 + 0.1 * seed) for seed in (1, 2, 3)]
    page = run_seeds.page(results, Path("base.pt"), "the command")
    assert "    the command\n" in page and "`base.pt`" in page and "layer 2," in page
    assert "| PNMI ↑ | 0.100 ± 0.000 | 0.200 ± 0.000 | 0.400 ± 0.000 | 0.400 ± 0.058 | +0.200 ± 0.058 | " in page
    assert "phones (PNMI) by +0.0 %" in page


def test_the_page_says_which_layer_of_the_base_each_seed_has(run_seeds):
    """Guards against layers in another order than the seeds."""
    results = [result(run_seeds, seed, 0.4, 0.3) for seed in (1, 2, 3)]
    for run, layer in zip(results, (4, 5, 3)):
        run["base"]["layer"] = layer
    assert "of layers 4, 5 and 3 for seeds 1, 2 and 3, each" in run_seeds.page(results, Path("base.pt"), "the command")


def test_each_set_of_keys_has_folders_of_its_own(run_seeds, tmp_path, monkeypatch):
    def run_demo(arguments):
        folder = Path(arguments[1])
        folder.mkdir()
        (folder / "results.json").write_text(
            json.dumps({"arguments": arguments[2:], "spin": dict.fromkeys(run_seeds.METRICS, 0)})
        )

    monkeypatch.setattr(run_seeds, "run_demo", run_demo)
    keys = ["task.a=b/c", "task.long=" + 300 * "x"]  # longer than the name of a folder may be
    base, other_base = run_seeds.BASE, tmp_path / "other.pt"
    of = [run_seeds.results_of([1, 2], tmp_path, *which) for which in ((base, []), (base, keys), (other_base, []))]
    assert [run["arguments"] for run in of[0]] == [["--seed", seed, "--base", str(base)] for seed in "12"]
    assert [run["arguments"] for run in of[1]] == [["--seed", seed, "--base", str(base), *keys] for seed in "12"]
    assert [run["arguments"] for run in of[2]] == [["--seed", seed, "--base", str(other_base)] for seed in "12"]
    assert len(list(tmp_path.iterdir())) == 6 and (tmp_path / "demo_seed_1").is_dir()
