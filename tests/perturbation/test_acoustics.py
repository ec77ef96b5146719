"""Rooms and noise over a view: the oracle's numbers, in a worker and on a device alike."""

import numpy as np
import pytest
import torch

from spin_fairseq.perturbation.acoustics import (
    AS_RECORDED,
    SILENCE,
    Acoustics,
    change_acoustics,
    change_acoustics_of_batch,
    stack,
)
from spin_fairseq.perturbation.noise import at_level_one, babble, speech_shaped_noise
from spin_fairseq.perturbation.rooms import from_direct_sound, synthetic_room
from tests.fake_cuda import fake_cuda
from tests.oracles import acoustics_oracle

NOTHING = SILENCE


def some(rng, samples, level=0.1):
    return (rng.standard_normal(samples) * level).astype(np.float32)


def a_room(rng):
    return np.concatenate([[1.0], rng.standard_normal(40) * np.exp(-np.arange(40) / 8)]).astype(np.float32)


def cases(rng):
    """(wave, Acoustics): noise, a room, both, neither, silence on either side, and sums above full scale."""
    waves = [some(rng, length) for length in (300, 251, 200, 300, 90)]
    both = [
        Acoustics(some(rng, 300, 3.0), -7.0, NOTHING), Acoustics(NOTHING, 0.0, a_room(rng)),
        Acoustics(some(rng, 200), 10.0, a_room(rng)), AS_RECORDED, Acoustics(np.zeros(90, np.float32), 0.0, NOTHING),
    ]  # fmt: skip
    waves += [np.zeros(120, np.float32), some(rng, 150, 0.5)]
    return waves, [*both, Acoustics(some(rng, 120), 0.0, a_room(rng)), Acoustics(some(rng, 150), -10.0, NOTHING)]


@pytest.mark.parametrize("seed", range(3))
def test_a_view_is_the_oracles(seed):
    """Guards against a delay in the room, a level over a part of the wave, and a noise that is louder than asked for."""
    for wave, acoustics in zip(*cases(np.random.default_rng(seed))):
        expected = acoustics_oracle.view(wave, *acoustics)
        found = change_acoustics(wave, acoustics)
        np.testing.assert_allclose(found, expected, atol=2e-6)
        assert found.dtype == np.float32 and np.abs(found).max() <= 1.0


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_is_its_rows(seed):
    """Guards against levels, peaks or reverberation that see padding or another row."""
    waves, acoustics = cases(np.random.default_rng(seed))
    lengths = torch.tensor([len(wave) for wave in waves])
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
    batch = torch.nn.functional.pad(batch, (0, 37))
    found = change_acoustics_of_batch(batch, lengths, *stack(acoustics, batch.size(1)))
    for row, wave, own in zip(found, waves, acoustics):
        np.testing.assert_allclose(row[: len(wave)], change_acoustics(wave, own), atol=2e-6)
        assert not row[len(wave) :].any()


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 20.0])
def test_the_ratio_is_the_one_that_was_asked_for(snr_db):
    """Measured on the result: what was added is the difference, before and after it is scaled down."""
    rng = np.random.default_rng(1)
    wave, noise = some(rng, 16000, 0.4), speech_shaped_noise(some(rng, 16000), rng, 16000)
    heard = change_acoustics(wave, Acoustics(noise, snr_db, NOTHING)).astype(np.float64)
    scale = np.dot(heard, wave) / np.dot(wave, wave)  # noise and wave are nearly uncorrelated
    unit = at_level_one(noise).astype(np.float64)
    (speech, added), *_ = np.linalg.lstsq(np.stack([wave, unit], 1), heard, rcond=None)
    assert 10 * np.log10(np.mean((speech * wave) ** 2) / added**2) == pytest.approx(snr_db, abs=0.01)
    assert scale <= 1.05 and np.abs(heard).max() <= 1.0 + 1e-6


def test_silence_gets_no_noise_and_makes_none():
    """Guards against a division by zero, and against 16 bits' last digit made as loud as speech."""
    rng = np.random.default_rng(0)
    silent, wave = np.zeros(500, np.float32), some(rng, 500)
    assert not change_acoustics(silent, Acoustics(wave, 0.0, a_room(rng))).any()
    assert np.array_equal(change_acoustics(wave, Acoustics(silent, 0.0, NOTHING)), wave)
    assert np.array_equal(change_acoustics(wave, Acoustics(silent + 1e-6, 0.0, NOTHING)), wave)
    assert change_acoustics(wave, AS_RECORDED) is wave


def test_speech_shaped_noise_has_the_spectrum_of_speech():
    rng = np.random.default_rng(0)
    low = np.convolve(rng.standard_normal(32000), np.ones(32) / 32, "same").astype(np.float32)
    noise = speech_shaped_noise(low, rng, 16000)
    assert noise.dtype == np.float32
    bands = [np.add.reduceat(np.abs(np.fft.rfft(x)) ** 2, range(0, 16000, 1000)) for x in (low, noise)]
    ratio = bands[1] / bands[0]
    np.testing.assert_allclose(ratio / np.median(ratio), 1.0, atol=0.35)
    assert bands[0].max() / bands[0].min() > 100


def test_babble_takes_all_talkers_alike():
    rng = np.random.default_rng(0)
    loud, quiet = some(rng, 900, 0.5), some(rng, 400, 0.01)
    mixed = babble([loud, quiet, np.zeros(50, np.float32), SILENCE], 900)
    np.testing.assert_allclose(mixed, at_level_one(loud) + at_level_one(np.resize(quiet, 900)), atol=1e-5)
    assert not babble([], 100).any()


def test_a_recorded_room_begins_with_the_direct_sound():
    """Guards against frames that are delayed against their phones and pieces."""
    room = np.concatenate([np.zeros(800), [0.01, -0.4, 0.2], np.zeros(50_000)])
    found = from_direct_sound(room, 16000)
    np.testing.assert_allclose(found[:3], [1.0, -0.5, 0.0])
    assert len(found) == 32000 and not len(from_direct_sound(np.zeros(10), 16000)) and not len(from_direct_sound([], 1))
    synthetic = synthetic_room(np.random.default_rng(0), 16000)
    assert synthetic[0] == 1.0 and 3200 <= len(synthetic) <= 12800


def test_nothing_waits_for_a_gpu():
    with fake_cuda():
        wave, noise = torch.zeros(3, 4000, device="cuda"), torch.zeros(3, 4000, device="cuda")
        lengths, snr = torch.zeros(3, dtype=torch.int64, device="cuda"), torch.zeros(3, device="cuda")
        heard = change_acoustics_of_batch(wave, lengths, noise, snr, torch.zeros(3, 500, device="cuda"))
        assert heard.shape == wave.shape and heard.device.type == "cuda"
