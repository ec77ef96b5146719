import numpy as np
import pytest
import torch

from spin_fairseq.evaluation.metrics import distortions
from spin_fairseq.evaluation.metrics.distortions import DISTORTIONS, add_noise, reverberate
from spin_fairseq.speech.audio import SAMPLE_RATE
from spin_fairseq.perturbation.pitch import f0_contour

BY_KEY = {distortion.key: distortion for distortion in DISTORTIONS}


@pytest.fixture(scope="module")
def voice():
    """1 s at 120 Hz, with resonances at 600 and 1,500 Hz."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    partials = 120 * np.arange(1, 40)
    gains = sum(1 / (1 + ((partials - formant) / 90) ** 2) for formant in (600, 1500))
    return (0.1 * gains @ np.sin(2 * np.pi * partials[:, None] * time)).astype(np.float32)


def median_f0(wave):
    limits = np.array([85.0]), np.array([170.0])  # narrower than an octave
    f0, _ = f0_contour(torch.from_numpy(wave)[None], torch.tensor([len(wave)]), SAMPLE_RATE, *limits)
    return float(np.median(f0[f0 > 0]))


def centroid(wave):
    """Mean frequency below 3 kHz, Hz."""
    power, frequency = np.abs(np.fft.rfft(wave)) ** 2, np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    low = frequency < 3000
    return float(np.sum((power * frequency)[low]) / np.sum(power[low]))


@pytest.mark.parametrize("key", BY_KEY)
def test_depends_on_seed_utterance_and_wave_alone(key, voice):
    if key == "stretch":
        pytest.importorskip("librosa")
    distortion, kept = BY_KEY[key], voice.copy()
    first = distortion(voice, "1272-1-0", seed=4)
    np.random.seed(0)
    assert first.dtype == np.float32 and first.ndim == 1 and np.isfinite(first).all()
    assert np.array_equal(first, distortion(voice, "1272-1-0", seed=4)) and np.array_equal(voice, kept)
    for other in (distortion(voice, "1272-1-1", seed=4), distortion(voice, "1272-1-0", seed=5)):
        assert len(other) != len(first) or not np.allclose(other, first, atol=1e-4)


@pytest.mark.parametrize("snr", [20, 10, 0])
def test_noise_has_the_level_and_the_spectrum(snr, voice):
    noise = BY_KEY[f"noise_{snr}db"](voice, "u").astype(np.float64) - voice
    assert 10 * np.log10(np.mean(voice.astype(np.float64) ** 2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.01)
    powers = [np.abs(np.fft.rfft(side)[:2400]) ** 2 for side in (voice, noise)]
    bands = [10 * np.log10(power.reshape(-1, 400).sum(1)) for power in powers]  # of 400 Hz
    assert bands[0] - bands[1] == pytest.approx(snr, abs=6) and np.ptp(bands[0]) > 15
    assert abs(np.corrcoef(noise, voice)[0, 1]) < 0.15
    # Noise is stationary, though the utterance is not.
    burst = np.concatenate([np.random.default_rng(0).normal(size=8000), np.zeros(8000)])
    noise = add_noise(burst, np.random.default_rng(1), 0) - burst
    assert 0.8 < np.std(noise[:8000]) / np.std(noise[8000:]) < 1.25


def test_reverberation_is_a_convolution_with_a_decaying_room(voice):
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[0] = 1
    room = reverberate(click, np.random.default_rng(5))
    room = room / room[0]
    short = voice[:400].astype(np.float64)
    plain = np.array([sum(short[i - k] * room[k] for k in range(i + 1)) for i in range(400)])
    found = reverberate(short, np.random.default_rng(5))
    assert found == pytest.approx(plain * np.sqrt(np.mean(short**2) / np.mean(plain**2)), abs=1e-6)
    decay, direct = np.random.default_rng(5).uniform(*distortions.DECAY_SECONDS), 1 / np.sum(room[1:] ** 2)
    assert distortions.DIRECT_DB[0] - 0.1 < 10 * np.log10(direct) < distortions.DIRECT_DB[1] + 0.1
    length = int(decay * SAMPLE_RATE)
    parts = [np.sum(part**2) for part in (room[1 : length // 2], room[length // 2 : length])]
    assert 10 * np.log10(parts[0] / parts[1]) == pytest.approx(30, abs=2)  # half of T60 is 30 dB
    assert not room[length:].any() or np.abs(room[length:]).max() < 1e-6


def test_stretching_changes_the_length_and_not_the_pitch(voice):
    pytest.importorskip("librosa")
    rates = [len(voice) / len(BY_KEY["stretch"](voice, name)) for name in range(6)]
    assert 0.79 < min(rates) < 0.95 and 1.05 < max(rates) < 1.21
    assert median_f0(BY_KEY["stretch"](voice, 0)) == pytest.approx(120, rel=0.01)


def test_pitch_and_formants_change_apart(voice):
    pitches = [BY_KEY["pitch"](voice, name) for name in range(8)]
    semitones = [12 * np.log2(median_f0(wave) / 120) for wave in pitches]
    assert -4.2 < min(semitones) < -1 and 1 < max(semitones) < 4.2
    formants = [BY_KEY["formants"](voice, name) for name in range(8)]
    assert all(median_f0(wave) == pytest.approx(120, rel=0.02) for wave in formants)
    moved = [centroid(wave) / centroid(voice) for wave in formants]
    assert min(moved) < 0.95 and max(moved) > 1.05
    assert all(len(wave) == len(voice) for wave in pitches + formants)


@pytest.mark.parametrize("key", BY_KEY)
@pytest.mark.parametrize("samples", [400, 3000])
def test_silence_and_short_waves(key, samples):
    if key == "stretch":
        pytest.importorskip("librosa")
    changed = BY_KEY[key](np.zeros(samples, np.float32), "u")
    assert not changed.any() and 0.75 * samples < len(changed) < 1.3 * samples
