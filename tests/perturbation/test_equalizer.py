import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfreqz

from spin_fairseq.perturbation import draw_speaker, equalize, kernels
from spin_fairseq.perturbation.equalizer import BANDS, CENTRES_HZ, biquads
from tests.oracles.biquad_oracle import equalize_oracle


def noise(*shape, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def gain_at(frequencies, sections, sample_rate=16000):
    _, response = sosfreqz(sections, worN=np.atleast_1d(frequencies), fs=sample_rate)
    return 20 * np.log10(np.abs(response))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), sample_rate=st.sampled_from([8000, 16000, 44100]))
def test_equals_the_cookbook_sample_by_sample(seed, sample_rate):
    rng = np.random.default_rng(seed)
    gains_db, q = rng.uniform(-12, 12, BANDS), 2 * 2.5 ** rng.uniform(0, 1, BANDS)
    wave = noise(400, seed=seed)
    expected = equalize_oracle(wave.astype(np.float64).tolist(), sample_rate, gains_db, q)
    result = equalize(wave, sample_rate, gains_db=gains_db, q=q)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)


def test_centres():
    assert CENTRES_HZ[0] == pytest.approx(60) and CENTRES_HZ[-1] == pytest.approx(7600)
    assert np.allclose(np.diff(np.log(CENTRES_HZ)), np.log(7600 / 60) / 9)


@pytest.mark.parametrize("gain", [-12.0, -3.0, 6.0, 12.0])
@pytest.mark.parametrize("band", range(BANDS))
def test_each_band_gives_the_gain_that_was_asked_for(band, gain):
    gains_db = np.zeros(BANDS)
    gains_db[band] = gain
    sections = biquads(16000, gains_db, np.full(BANDS, 3.0))
    if 0 < band < BANDS - 1:
        assert gain_at(CENTRES_HZ[band], sections) == pytest.approx(gain, abs=1e-6)
        assert gain_at([1.0, 7999.0], sections) == pytest.approx([0, 0], abs=0.2)
    else:  # half of the decibels at a shelf's corner, all of them beyond, none at the other end
        inside, outside = (0.1, 7999.0) if band == 0 else (7999.9, 10.0)
        assert gain_at(CENTRES_HZ[band], sections) == pytest.approx(gain / 2, abs=1e-6)
        assert gain_at(inside, sections) == pytest.approx(gain, abs=0.1)
        assert gain_at(outside, sections) == pytest.approx(0, abs=0.1)


def test_no_gain_changes_nothing():
    wave = noise(1000)
    np.testing.assert_allclose(equalize(wave, 16000, gains_db=np.zeros(10), q=np.full(10, 3.0)), wave, atol=1e-6)


@pytest.mark.parametrize("gain", [-12.0, 12.0])
def test_extreme_gains_in_all_bands_are_stable(gain):
    result = equalize(noise(160000), 16000, gains_db=np.full(10, gain), q=np.full(10, 5.0))
    assert np.isfinite(result).all() and np.abs(result).max() < 10


def test_a_batch_equals_its_rows():
    rng = np.random.default_rng(1)
    waves, gains_db, q = noise(3, 500), rng.uniform(-12, 12, (3, 10)), rng.uniform(2, 5, (3, 10))
    together = equalize(waves, 16000, gains_db=gains_db, q=q)
    rows = [equalize(*row[:1], 16000, gains_db=row[1], q=row[2]) for row in zip(waves, gains_db, q)]
    assert np.array_equal(together, np.stack(rows))
    same_for_all = equalize(waves, 16000, gains_db=gains_db[0], q=q[0])
    assert np.array_equal(same_for_all[0], together[0]) and not np.array_equal(same_for_all[1], together[1])


def test_tensors_come_back_as_tensors():
    wave, options = noise(500), {"gains_db": np.linspace(-12, 12, 10), "q": np.full(10, 3.0)}
    result = equalize(torch.from_numpy(wave), 16000, **options)
    assert torch.is_tensor(result) and np.array_equal(result.numpy(), equalize(wave, 16000, **options))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), samples=st.integers(1, 9000))
def test_segments_side_by_side_are_the_wave_as_a_whole(seed, samples):
    """Guards against a border between segments that can be heard."""
    rng = np.random.default_rng(seed)
    draw = draw_speaker(rng)
    wave = rng.standard_normal(samples).astype(np.float32)
    sections = biquads(16000, draw.gains_db, draw.q)
    whole, joined = np.zeros((2, samples + 3), np.float32)
    kernels.cascade(wave, sections, whole)
    kernels.cascade_side_by_side(wave, sections, joined)
    assert np.abs(whole - joined).max() <= 1e-6 * np.abs(whole).max()
    assert not joined[samples:].any()
