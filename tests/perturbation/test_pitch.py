import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.perturbation import kernels, pitch
from tests.oracles import perturbation_oracle as oracle
from tests.synthetic_speech import synthetic_voice


def contour(wave, sample_rate=16000, floor=None, ceiling=None):
    limits = [None if limit is None else np.array([limit]) for limit in (floor, ceiling)]
    wave = torch.from_numpy(np.asarray(wave, np.float32))[None]
    f0, frames = pitch.f0_contour(wave, torch.tensor([wave.size(1)]), sample_rate, *limits)
    return f0[0].numpy(), frames


def buzz(f0, seconds, sample_rate=16000):
    """Harmonics up to 3 kHz, weaker by 1/n. f0: Hz, a number or one for each sample."""
    f0 = np.broadcast_to(f0, int(seconds * sample_rate))
    phase = 2 * np.pi * np.cumsum(f0 / sample_rate)
    return sum(np.sin(n * phase) / n for n in range(1, int(3000 / f0.max()) + 1)).astype(np.float32)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("f0", [80.0, 147.3, 390.0])
def test_a_steady_tone(f0, sample_rate):
    found, _ = contour(buzz(f0, 0.5, sample_rate), sample_rate, 75.0, 500.0)
    assert np.abs(found[3:-3] / f0 - 1).max() < 0.005


def test_a_glide_is_followed():
    """Frame i tells f0 at its centre, half a step behind i steps."""
    f0 = np.geomspace(100, 250, 16000)
    found, frames = contour(buzz(f0, 1.0), 16000, 75.0, 400.0)
    there = f0[np.arange(len(found)) * frames.step + frames.step // 2]
    assert np.abs(found[4:-4] / there[4:-4] - 1).max() < 0.01


@pytest.mark.parametrize("wave", [np.zeros(8000), np.ones(8000), 0.1 * np.random.default_rng(0).standard_normal(8000)])
def test_what_has_no_pitch(wave):
    assert (contour(wave, 16000, 75.0, 400.0)[0] > 0).mean() < 0.05


@pytest.mark.parametrize("f0", [95.0, 190.0, 300.0])
def test_without_a_range_the_utterance_tells(f0):
    wave = synthetic_voice(f0, ["AA", "EH", "SIL", "AA", "IY"])
    known, _ = contour(wave, 16000, 0.6 * f0, 1.6 * f0)
    found, _ = contour(wave)
    assert np.mean(np.abs(found - known) < 0.02 * known + 0.1) > 0.95


def test_range_of():
    f0 = torch.tensor([[0.0, 100, 110, 120, 0, 130, 140], [0] * 7, [500] * 7, [62.0] * 7])
    floor, ceiling = pitch.range_of(f0)
    assert floor.tolist() == pytest.approx([0.72 * 110, 60, 360, 60])
    assert ceiling.tolist() == pytest.approx([1.9 * 130, 600, 600, 1.9 * 62])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(8, 60))
def test_autocorrelation_is_the_definition(seed, width):
    rng = np.random.default_rng(seed)
    window = np.cos(np.pi * (np.arange(width) - width // 2) / (width + 2)) ** 2
    samples = (rng.standard_normal((3, width)) * window).astype(np.float32)
    frames = pitch.Frames(
        torch.from_numpy(samples)[None], torch.from_numpy(window.astype(np.float32))[None], 1000.0, 1, None, None,
        0.4 * width / 1000,
    )  # fmt: skip
    r = pitch.normalised_autocorrelation(frames)[0]
    r = r[:, :: pitch.LAGS_PER_SAMPLE]
    lags = min(r.size(1), width // 2)
    for row, own in zip(r, samples):
        expected = oracle.autocorrelation(own.astype(float).tolist(), window.tolist(), lags)
        assert row[:lags].numpy() == pytest.approx(expected, abs=2e-4)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_best_path_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    frames = [[(rng.uniform(80, 380), rng.uniform(0.3, 1.0)) for _ in range(rng.integers(0, 3))] for _ in range(5)]
    intensity = rng.uniform(0, 0.1, 5)
    frequency, strength = torch.ones(1, 5, 2), torch.full((1, 5, 2), -torch.inf)
    for i, candidates in enumerate(frames):
        for c, (f, s) in enumerate(candidates):
            frequency[0, i, c], strength[0, i, c] = f, s
    voiceless = [0.45 + max(0.0, 2 - x * 1.45 / 0.03) for x in intensity]
    expected = oracle.best_path(frames, voiceless, 0.01, 0.35, 0.14, 400.0)
    found = pitch.best_path(frequency, strength, torch.from_numpy(intensity)[None].float(), torch.tensor([400.0]))
    assert found[0].tolist() == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), lags=st.integers(20, 140))
def test_the_compiled_loop_equals_the_torch_one(seed, lags):
    rng = np.random.default_rng(seed)
    smooth = np.apply_along_axis(np.convolve, 1, rng.uniform(-1, 1, (40, lags)), np.ones(3) / 2, "same")
    r = np.clip(smooth, -1, 1).astype(np.float32)
    r[:, 0] = 1
    intensity = rng.uniform(0, 0.1, 40).astype(np.float32)
    floor, ceiling = 8000 / (lags - 3), rng.uniform(300, 600)
    limits = torch.tensor([floor], dtype=torch.float32), torch.tensor([ceiling], dtype=torch.float32)
    frequency, strength = pitch.candidates(torch.from_numpy(r)[None], 8000.0, *limits)
    expected = pitch.best_path(frequency, strength, torch.from_numpy(intensity)[None], limits[1])[0].numpy()
    found = kernels.track(
        r, intensity, 8000.0, float(limits[0]), float(limits[1]), pitch.CANDIDATES, pitch.VOICING_THRESHOLD,
        pitch.SILENCE_THRESHOLD, pitch.OCTAVE_COST, pitch.OCTAVE_JUMP_COST, pitch.VOICING_CHANGE_COST,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-4)
