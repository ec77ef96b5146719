import csv

import numpy as np
import pytest

from tests.scripts.loading import main_of

pytest.importorskip("parselmouth")
pytest.importorskip("matplotlib")
compare_main = main_of("compare_with_praat")
script = compare_main.__globals__


@pytest.mark.slow
def test_quick_comparison_with_labels(speech_folder, tmp_path, capsys):
    out = tmp_path / "out"
    compare_main([
        str(speech_folder.data / "dev.tsv"), "--phones", str(speech_folder.phones), "--out", str(out), "--quick",
    ])  # fmt: skip
    page = (out / "comparison.md").read_text()
    assert page in capsys.readouterr().out and "18 cases: 2 utterances of 2 speakers, 9 draws each" in page
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG") and not list(out.glob("*.part"))
    with open(out / "cases.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18 and len({row["utterance"] for row in rows}) == 2
    same = [row for row in rows if row["formant_ratio"] == row["pitch_ratio"] == row["range_ratio"] == "1"]
    assert len(same) == 2
    for row in same:  # the native wave is the input
        assert float(row["native_distance"]) < 1e-5 and float(row["native_F1"]) == pytest.approx(1, abs=1e-4)
    for row in rows:
        for engine in ("native", "praat"):
            assert float(row[f"{engine}_F2"]) == pytest.approx(float(row["formant_ratio"]), rel=0.08)
        if float(row["range_ratio"]) == 1 and float(row["formant_ratio"]) == 1:
            assert float(row["native_f0"]) == pytest.approx(float(row["target_f0"]), rel=0.04)


@pytest.mark.parametrize("levels", [3, 5])
def test_any_two_levels_of_the_grid_meet_once(levels):
    draws = [draw[:3] for draw in script["grid"](levels)]
    assert len(draws) == levels**2 and (1.0, 1.0, 1.0) in draws
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert len({(draw[a], draw[b]) for draw in draws}) == levels**2
    for n, largest in enumerate((1.4, 2.0, 1.5)):
        values = sorted({draw[n] for draw in draws})
        assert values[0] == pytest.approx(1 / largest) and values[-1] == pytest.approx(largest)
        np.testing.assert_allclose(np.diff(np.log(values)), 2 * np.log(largest) / (levels - 1))


def test_praat_in_place_is_not_early():
    """Where f0 rises an early contour is too high."""
    measures, praat = script["measures"], script["praat"]
    time = np.arange(24000) / 16000
    phase = np.cumsum(120 + 60 * time) / 16000
    wave = np.convolve(np.diff(np.floor(phase), prepend=0), np.exp(-np.arange(160) / 30) * np.cos(np.arange(160) * 0.3))
    wave = (0.3 * wave[:24000]).astype(np.float32)
    draw = script["grid"](3)[4]._replace(formant_ratio=1.2, seed=1)
    before = measures.f0_contour(wave, 16000, 75, 300)
    rises = [
        np.median(
            measures.f0_contour(change(wave, 16000, (75.0, 300.0), draw), 16000, 75, 300)[20:-20] - before[20:-20]
        )
        for change in (praat.change_speaker, script["praat_in_place"])
    ]
    # f0 rises by 60 Hz a second; the first of 137 frames, 0.8 / 75 s apart, lies at 24.7 ms and is taken to lie at 5.3 ms.
    # Either way a period lasts as long as f0 where it begins says: half a period late.
    assert rises[0] - rises[1] == pytest.approx(60 * 0.0194, abs=0.3) and -0.5 < rises[1] < 0


def test_errors_name_what_is_wrong(speech_folder, tmp_path):
    table = tmp_path / "pitch.tsv"
    table.write_text("1\t75\t250\n")
    dev = str(speech_folder.data / "dev.tsv")
    for arguments, words in (
        ([str(tmp_path / "none")], "neither a manifest"),
        ([dev, "--speaker-pitch", str(table)], "no speaker"),
        ([dev, "--utterances", "0"], "--utterances"),
    ):
        with pytest.raises(SystemExit, match=words):
            compare_main([*arguments, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_help_starts_with_an_example(capsys):
    with pytest.raises(SystemExit):
        compare_main(["--help"])
    assert capsys.readouterr().out.startswith("usage: python scripts/compare_with_praat.py ")
