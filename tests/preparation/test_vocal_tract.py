"""The length of the vocal tract: what moves it, and what must not."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from spin_fairseq.perturbation import change_speaker, draw_speaker, equalize, pitch
from spin_fairseq.perturbation.waves import as_waves
from spin_fairseq.preparation.vocal_tract import (
    CEPSTRA,
    WARPS,
    Mixture,
    log_likelihoods,
    reference_mixture,
    relative_length,
    scores_of_warps,
)
from spin_fairseq.speech.audio import SAMPLE_RATE, read_audio
from tests.synthetic_speech import synthetic_voice

NATURAL = Path(__file__).resolve().parents[2] / "examples" / "demo" / "natural"
SPEAKERS = ("4101", "4103", "4105", "4109")  # of dev: two women, two men
FILES = 3


def scores_of(wave):
    waves = as_waves(np.asarray(wave, np.float32))
    f0, frames = pitch.f0_contour(waves.samples, waves.lengths, SAMPLE_RATE)
    return scores_of_warps(np.asarray(wave, np.float32), f0[0].numpy(), frames.step)


def length_of(waves, change=lambda wave: wave):
    return relative_length(sum(scores_of(change(wave)) for wave in waves))


@pytest.fixture(scope="module")
def recordings():
    found = {}
    for speaker in SPEAKERS:
        files = sorted(path for path in (NATURAL / "dev" / speaker).rglob("*") if path.is_file())[:FILES]
        found[speaker] = [read_audio(path) for path in files]
    return found


@pytest.fixture(scope="module")
def lengths(recordings):
    return {speaker: length_of(waves) for speaker, waves in recordings.items()}


@pytest.mark.parametrize("ratio", [1 / 1.15, 1.15])
def test_a_change_of_formants_is_found_again(recordings, lengths, ratio):
    """Guards against an estimate that shrinks towards the mean: formants that move by a ratio shorten the tract by it."""
    for speaker, waves in recordings.items():
        changed = length_of(waves, lambda wave: change_speaker(wave, SAMPLE_RATE, formant_ratio=ratio))
        assert changed * ratio == pytest.approx(lengths[speaker], rel=0.03)


def test_pitch_and_level_and_channel_do_not_count(recordings, lengths):
    """Guards against an estimate that takes a high voice or a bright microphone for a short tract."""
    draw = draw_speaker(np.random.default_rng(0))
    changes = {
        "lower": lambda wave: change_speaker(wave, SAMPLE_RATE, pitch_ratio=0.75),
        "higher": lambda wave: change_speaker(wave, SAMPLE_RATE, pitch_ratio=1.3),
        "softer": lambda wave: 0.01 * wave,
        "equalised": lambda wave: equalize(wave, SAMPLE_RATE, gains_db=draw.gains_db, q=draw.q),
    }
    for name, change in changes.items():
        for speaker, waves in recordings.items():
            assert length_of(waves, change) == pytest.approx(lengths[speaker], rel=0.03), (name, speaker)


def test_women_have_shorter_tracts_than_men(lengths):
    women, men = (np.mean([lengths[name] for name in names]) for names in (SPEAKERS[:2], SPEAKERS[2:]))
    assert 1.08 < men / women < 1.25


def test_the_same_formants_under_four_pitches():
    """Guards against harmonics that are taken for formants."""
    found = [length_of([synthetic_voice(f0, ["AA", "IY", "UW", "EH"] * 4)]) for f0 in (100.0, 150.0, 200.0, 250.0)]
    assert max(found) < 1.03 * min(found)


def test_nothing_voiced_has_no_length():
    assert np.isnan(relative_length(scores_of(np.zeros(16000))))
    assert np.isnan(relative_length(scores_of(np.zeros(100))))


def test_the_most_likely_warp_lies_between_those_of_the_grid():
    places = np.arange(len(WARPS)) - len(WARPS) // 2
    assert relative_length(-((places - 3.3) ** 2)) == pytest.approx(np.exp(-0.02 * 3.3))
    assert np.isnan(relative_length(places.astype(float)))  # at the end of the grid: it may lie beyond


def test_likelihood_is_that_of_a_gaussian_mixture():
    rng = np.random.default_rng(0)
    mixture = Mixture(np.array([0.3, 0.7]), rng.normal(size=(2, CEPSTRA)), rng.uniform(0.5, 2, (2, CEPSTRA)))
    cepstra = rng.normal(size=(3, 5, CEPSTRA))
    expected = sum(
        weight * multivariate_normal(mean, np.diag(variance)).pdf(cepstra) for weight, mean, variance in zip(*mixture)
    )
    np.testing.assert_allclose(log_likelihoods(cepstra, mixture), np.log(expected).sum(-1))


def test_the_reference_is_a_mixture():
    weights, means, variances = reference_mixture()
    assert weights.sum() == pytest.approx(1, abs=1e-3) and means.shape == variances.shape == (len(weights), CEPSTRA)
    assert (weights > 0).all() and (variances > 0).all()
