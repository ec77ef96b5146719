import numpy as np
import pytest

from measuring import voice_comparison as comparison
from measuring import voice_measures as measures
from tests.synthetic_speech import VOWEL_FORMANTS, synthetic_voice

pytest.importorskip("parselmouth")


@pytest.fixture(scope="module")
def voice():
    return synthetic_voice(150.0, ["AA", "SIL", "EH", "AA"])


def test_f0_and_formants_are_those_of_the_voice(voice):
    f0 = measures.f0_contour(voice, 16000, 75, 400)
    assert measures.median_f0(f0) == pytest.approx(150, rel=0.1) and np.mean(f0 > 0) == pytest.approx(0.75, abs=0.1)
    found = measures.measure(voice, 16000, (75, 250), np.arange(0.05, 0.15, 0.01)).formants
    # Praat expects five formants below 5 kHz; this voice has three, so that only the first two are sure to be those.
    np.testing.assert_allclose(np.nanmedian(found[:2], axis=1), VOWEL_FORMANTS["AA"][:2], rtol=0.05)


def test_vowel_times():
    labels = ["SIL", "AA", "AA", "T", "IY"]
    np.testing.assert_allclose(measures.vowel_times(labels, 1.0), [0.015, 0.025, 0.045])
    np.testing.assert_allclose(measures.vowel_times(labels, 0.04), [0.015, 0.025])


def test_a_louder_voice_is_louder_in_every_band(voice):
    one, two = (measures.measure(wave, 16000, (75, 250), [0.1]) for wave in (voice, 2 * voice))
    assert two.level - one.level == pytest.approx(6.02, abs=0.01)
    assert measures.spectrum_distance(two, one) == pytest.approx(6.02, abs=0.01)
    assert measures.log_mel_distance(one, one) == measures.spectrum_distance(one, one) == 0
    np.testing.assert_allclose(measures.formant_ratios(two, one), 1, atol=1e-3)


def test_mel_filters_cover_the_spectrum():
    filters = measures.mel_filters(16000)
    assert filters.shape == (40, 257) and (filters.sum(1) == pytest.approx(1)) and (filters[:, 1:-1].sum(0) > 0).all()


def test_contour_agreement():
    f0 = np.array([0, 100, 100, 200, 0, 0])
    other = np.array([0, 102, 110, 0, 0, 90, 90])
    assert measures.contour_agreement(f0, other) == (0.5, pytest.approx(4 / 6))
    near, voicing = measures.contour_agreement(f0, 0 * f0)
    assert np.isnan(near) and voicing == 0.5


@pytest.mark.parametrize(
    "frames, asked",
    [(6, [0, 0, 90, 60, 45, 0]), (8, [0, 0, 0, 90, 60, 45, 0, 0]), (4, [0, 90, 60, 45]), (5, [0, 0, 75, 52.5, 0])],
)
def test_asked_contour(frames, asked):
    """Half the pitch, one and a half times the range: 120 + 1.5 (f0 - 120), halved; halfway, between neighbours."""
    f0 = np.array([0, 0, 160, 120, 100, 0], float)
    np.testing.assert_allclose(measures.asked_contour(f0, 0.5, 1.5, frames), asked)
    assert not measures.asked_contour(0 * f0, 0.5, 1.5, frames).any()


def test_asked_contours_do_not_fall_below_zero():
    assert measures.asked_contour(np.array([100.0, 100.0, 20.0]), 1.0, 1.5, 3).tolist() == [100, 100, 0]


def case(**changes):
    row = {"utterance": "a", "speaker": "1", "formant_ratio": 1.2, "pitch_ratio": 0.5, "range_ratio": 1.0}
    row |= {"target_f0": 100.0, "target_f0_alike": 100.0}
    for engine in ("native", "praat", "praat_again", "in_place"):
        row.update({f"{engine}_f0": 100.0, f"{engine}_voiced": 0.5, f"{engine}_level": 0.0, f"{engine}_distance": 1.0})
        row.update({f"{engine}_F{n}": 1.2 for n in (1, 2, 3)})
        row.update(
            {
                f"{engine}_{key}": 1.0
                for key in ("spectrum", "near", "voicing", "near_asked", "near_in_place", "voicing_in_place")
            }
        )
    return row | changes


@pytest.mark.parametrize(
    "changes, met",
    [({"native_f0": 101.4}, True), ({"native_f0": 98.4}, False), ({"native_f0": 96, "praat_f0": 103.6}, True),
     ({"native_f0": 95.8, "praat_f0": 103.6}, False), ({"native_f0": np.nan}, False)],
)  # fmt: skip
def test_f0_bound(changes, met):
    assert comparison.f0_met([case(**changes)], "native").tolist() == [met]


def test_f0_bounds_beside_other_yardsticks():
    rows = [case(native_f0=96, in_place_f0=96.2), case(native_f0=96, target_f0_alike=95)]
    assert comparison.f0_met(rows, "native").tolist() == [False, False]
    assert comparison.f0_met(rows, "native", "in_place").tolist() == [True, False]
    assert comparison.f0_met(rows, "native", target="target_f0_alike").tolist() == [False, True]


def test_other_bounds():
    rows = [case(native_F1=1.23, native_level=3.0, praat_level=2.0), case(native_F1=1.1, praat_F1=1.09, native_level=1.6),
            case(native_F1=1.1, native_level=-1.4, praat_level=2.0), case(native_F1=np.nan)]  # fmt: skip
    np.testing.assert_array_equal(comparison.formant_met(rows, "native", 1), [1, 1, 0, np.nan])
    assert comparison.level_met(rows, "native").tolist() == [True, False, True, True]


def test_page_marks_what_is_met_and_what_is_not():
    same = case(formant_ratio=1.0, pitch_ratio=1.0, native_distance=0.0, praat_again_distance=1.1)
    rows = [case(target_f0_alike=95.3), same, case(native_spectrum=2.5), case(native_spectrum=2.1)]
    found = {figure.name: figure for figure in comparison.figures(rows)}
    spectrum = next(figure for name, figure in found.items() if "spectrum" in name)
    assert spectrum.values == {"native": 0.5, "praat_again": 1.0}
    identity = next(figure for name, figure in found.items() if "identity" in name)
    assert identity.values == {"native": 1.0, "praat_again": 0.0}
    asked = next(figure for name, figure in found.items() if "asked for (median" in name)
    assert asked.values.keys() == {"native", "praat", "in_place"}
    page = comparison.markdown(list(found.values()), rows, "Four cases.", "the command")
    assert "50.0 % ✗" in page and "100.0 % ✓" in page and "    the command\n" in page and "nan" not in page
    assert "by up to 4.7 %" in page
