import numpy as np
import pytest

from tests.scripts.loading import main_of
from tests.synthetic_speech import VOWEL_FORMANTS, synthetic_voice

pytest.importorskip("parselmouth")
pytest.importorskip("matplotlib")
plot = main_of("plot_perturbation")
script = plot.__globals__


def test_envelope_peaks_at_the_formants():
    frequencies = np.linspace(50, 3500, 700)
    level = script["envelope"](synthetic_voice(120.0, ["AA"])[800:1600].astype(float), frequencies)
    peaks = frequencies[1:-1][(level[1:-1] > level[:-2]) & (level[1:-1] > level[2:])]
    for formant in VOWEL_FORMANTS["AA"]:
        assert np.abs(peaks / formant - 1).min() < 0.06


def test_longest_vowel():
    assert script["longest_vowel"](["SIL"] * 9 + ["AA"] * 3 + ["T"] + ["IY"] * 4 + ["AA"] * 2) == ("IY", 13, 17)


def test_the_same_figure_every_time(speech_folder, tmp_path):
    utterance = next(name for name in speech_folder.phones_of if "-dev-" in name)
    arguments = [str(speech_folder.data / "dev.tsv"), "--phones", str(speech_folder.phones), "--utterance", utterance]
    files = [tmp_path / name for name in ("one.svg", "two.svg")]
    for file in files:
        plot([*arguments, "--out", str(file)])
    assert files[0].read_text().startswith("<?xml") and files[0].read_bytes() == files[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == files


def test_errors_name_what_is_wrong(speech_folder, tmp_path):
    arguments = [
        str(speech_folder.data / "dev.tsv"),
        "--phones",
        str(speech_folder.phones),
        "--out",
        str(tmp_path / "a.svg"),
    ]
    with pytest.raises(SystemExit, match="no utterance 'nobody'"):
        plot([*arguments, "--utterance", "nobody"])
    with pytest.raises(SystemExit):
        plot([*arguments[:-1], "a.pdf", "--utterance", "nobody"])
    assert not list(tmp_path.iterdir())
