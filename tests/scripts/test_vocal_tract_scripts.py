"""The scripts that make and check the estimate of vocal tract lengths, on a few speakers."""

import re

import numpy as np
import pytest

from spin_fairseq.preparation.vocal_tract import CEPSTRA
from spin_fairseq.speech.audio import audio_info
from spin_fairseq.speech.manifest import write_manifest
from tests.preparation.test_vocal_tract import NATURAL
from tests.scripts.loading import main_of

check, fit = main_of("check_vocal_tract"), main_of("fit_vocal_tract_reference")


@pytest.fixture
def manifest(tmp_path):
    """Two files each of a woman and a man."""
    paths = [path for name in ("4101", "4105") for path in sorted((NATURAL / "dev" / name).rglob("*.*"))[:2]]
    rows = [(str(path.relative_to(NATURAL)), audio_info(path)[0]) for path in paths]
    write_manifest(tmp_path / "some.tsv", NATURAL, rows)
    return tmp_path / "some.tsv"


def test_check(manifest, capsys):
    """Guards against a report in which a change of formants is not asked back, or is asked back upside down."""
    check([str(manifest), "--sexes", str(NATURAL / "SPEAKERS.TXT"), "--changed", "1"])
    report = capsys.readouterr().out
    assert report.startswith("2 of 2 speakers") and re.search(r"men over women: 1\.\d+ \(1 and 1\)", report)
    errors = re.findall(r"formants x [\d.]+: off by ([-+][\d.]+) %", report)
    assert len(errors) == 4 and all(abs(float(error)) < 4 for error in errors)


def test_fit(manifest, tmp_path, monkeypatch):
    monkeypatch.setitem(fit.__globals__, "COMPONENTS", 4)
    monkeypatch.setitem(fit.__globals__, "ROUNDS", 2)
    fit([str(manifest), "--out", str(tmp_path / "reference.tsv")])
    table = np.loadtxt(tmp_path / "reference.tsv")
    assert table.shape == (4, 1 + 2 * CEPSTRA) and table[:, 0].sum() == pytest.approx(1, abs=1e-3)
