import numpy as np
import pytest
import soundfile

from spin_fairseq.errors import AudioError
from spin_fairseq.speech.recordings import Recordings, at_16_khz


@pytest.fixture
def recordings(tmp_path):
    """-> write(name, samples, rate): Recordings of that one file."""

    def write(name, samples, rate):
        soundfile.write(tmp_path / name, samples, rate, subtype="FLOAT")
        return Recordings(lambda _: str(tmp_path / name), 1)

    return write


def test_a_long_recording_is_cropped_anywhere(recordings):
    """Guards against noise of which only the beginning is heard."""
    ramp = np.arange(50_000, dtype=np.float32) / 50_000
    starts = []
    for seed in range(20):
        crop = recordings("long.wav", ramp, 16000).crop(np.random.default_rng(seed), 1000)
        np.testing.assert_allclose(np.diff(crop), 1 / 50_000, atol=1e-6)
        starts.append(crop[0])
    assert min(starts) < 0.2 and max(starts) > 0.75


def test_a_short_recording_is_repeated(recordings):
    wave = np.arange(1, 301, dtype=np.float32) / 300
    crop = recordings("short.wav", wave, 16000).crop(np.random.default_rng(0), 1000)
    assert len(crop) == 1000 and np.array_equal(crop[:700], crop[300:]) and set(crop) == set(wave)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_and_channels(recordings, rate):
    """Guards against noise at another pitch, and against two channels read as one of twice the length."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    both = np.stack([tone, -tone], 1).astype(np.float32)
    crop = recordings("stereo.wav", both, rate).crop(np.random.default_rng(0), 8000)
    spectrum = np.abs(np.fft.rfft(crop * np.hanning(8000)))
    assert spectrum.argmax() * 2 == 1000 and np.abs(crop).max() == pytest.approx(1.0, abs=0.05)
    assert len(at_16_khz(both[:1, 0], rate)) >= 1


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(AudioError, match="text.wav"):
        Recordings(lambda _: str(tmp_path / "text.wav"), 1).crop(np.random.default_rng(0), 10)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan, np.float32), 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match="nan.wav: has samples that are NaN"):
        Recordings(lambda _: str(tmp_path / "nan.wav"), 1).whole(np.random.default_rng(0), 1.0)
