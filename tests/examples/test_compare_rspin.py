"""examples/rspin: what is measured of both trainings, and the table."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.speech.phone_labels import load_phone_labels
from tests.spin_checkpoints import save_spin

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "rspin" / "compare.py"


@pytest.fixture(scope="module")
def compare():
    path = sys.path.copy()
    spec = importlib.util.spec_from_file_location("rspin_compare", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = path


def test_each_condition_is_measured(compare, speech_folder, tmp_path):
    """Guards against a condition that is left out, or that changes nothing."""
    manifest = load_manifest(speech_folder.data, "dev").select(np.arange(3))
    found = compare.measure(save_spin(tmp_path / "spin.pt"), manifest, load_phone_labels(speech_folder.phones, "dev"))
    assert set(found) == {
        "pnmi", "units_in_use",
        *(f"{kind}_{key}" for kind in ("ued", "uer", "pnmi", "pnmi_fall") for key in compare.CONDITIONS),
    }  # fmt: skip
    assert found["ued_noise_0db"] > 0 and found["ued_reverberation"] > 0 and 1 < found["units_in_use"]
    assert found["pnmi_fall_noise_0db"] == pytest.approx(found["pnmi"] - found["pnmi_noise_0db"])


def test_differences_are_those_within_a_seed(compare):
    """Guards against errors of differences that are as wide as the spread of the seeds, and against a wrong sign."""
    results = []
    for spin, rspin in ((0.30, 0.20), (0.40, 0.30), (0.50, 0.39)):
        keys = {"pnmi", "units_in_use"} | {
            f"{kind}_{key}" for kind in ("ued", "uer", "pnmi", "pnmi_fall") for key in compare.CONDITIONS
        }
        results.append({"seed": 1, "spin": dict.fromkeys(keys, spin), "rspin": dict.fromkeys(keys, rspin)})
    rows = compare.table(results)
    assert len(rows) == 2 + 18
    content = {"command": "python x", "base": "b.pt", "updates": 3, "pieces": "9 pieces in use", "seeds": results}
    assert compare.page(content).endswith("\n".join(rows) + "\n")
    assert "| 0.400 ± 0.058 | 0.297 ± 0.055 | -0.103 ± 0.003 | -31.0 |" in rows[4]


def test_the_log_tells_of_a_collapse(compare, tmp_path):
    said = (
        "collapse: code_ppl stayed at or under 3.2 for 10 updates, less than task.collapse_share=0.1 of 100 prototypes"
    )
    (tmp_path / "log").write_text(f"code_ppl=90.1, x\n{said}. Few of them\ncode_ppl=2.5, y\n")
    assert compare.collapse_said(tmp_path) == {
        "code_ppl": 2.5, "warning": "collapse: code_ppl stayed at or under 3.2 for 10 updates",
    }  # fmt: skip
