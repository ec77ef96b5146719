"""examples/real_speech/across_bases.py: what training changes, base by base."""

import importlib.util
import json
import sys

import pytest

from tests.examples.conftest import DEMO


@pytest.fixture(scope="module")
def across_bases():
    path = sys.path.copy()
    file = DEMO.parent / "real_speech" / "across_bases.py"
    spec = importlib.util.spec_from_file_location("across_bases", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = path


def write_results(file, module, base, pnmi, start, spin):
    """results.json of compare.py with one value for all metrics of a model; two seeds, .01 apart."""
    keys = ["pnmi", *module.CHANGES]
    rows = [
        {
            name: {**dict.fromkeys(keys, value), "pnmi": phones + 0.01 * seed}
            for name, value, phones in (("base", 1.0, pnmi), ("start", start, pnmi), ("spin", spin, pnmi + 0.02 * seed))
        }
        for seed in (0, 1)
    ]
    file.write_text(json.dumps({"base": base, "keys": [], "dev": rows}))
    return file


def test_each_base_has_its_row_and_the_plot_is_written(across_bases, tmp_path, capsys):
    """Guards against changes beside the base where the start is meant, and against rows of another base."""
    pytest.importorskip("matplotlib")
    files = [
        write_results(tmp_path / "a.json", across_bases, "poor.pt", 0.3, 0.4, 0.3),
        write_results(tmp_path / "b.json", across_bases, "good.pt", 0.5, 0.2, 0.25),
    ]
    across_bases.main([*map(str, files), "--out", str(tmp_path / "out")])
    _, _, poor, good = capsys.readouterr().out.strip().splitlines()
    assert poor == "| poor | 0.305 ± 0.005 | 0.315 ± 0.015 | +0.010 ± 0.010 |" + " -25 % |" * len(across_bases.CHANGES)
    assert good == "| good | 0.505 ± 0.005 | 0.515 ± 0.015 | +0.010 ± 0.010 |" + " +25 % |" * len(across_bases.CHANGES)
    assert (tmp_path / "out" / "dev.png").stat().st_size > 1000
    assert "| poor |" in (tmp_path / "out" / "dev.md").read_text()


def test_a_split_that_was_not_measured_is_named(across_bases, tmp_path, capsys):
    file = write_results(tmp_path / "a.json", across_bases, "poor.pt", 0.3, 0.4, 0.3)
    with pytest.raises(SystemExit):
        across_bases.main([str(file), "--split", "vctk"])
    assert "no split 'vctk'" in capsys.readouterr().err
