import base64
import io

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

from spin_fairseq.report import media

RATE = 16000


def content(uri, kind):
    head, data = uri.split(",", 1)
    assert head == f"data:{kind};base64"
    return io.BytesIO(base64.b64decode(data))


def test_sound_is_the_wave_in_16_bits():
    wave = np.random.default_rng(0).uniform(-1.2, 1.2, 1000).astype(np.float32)
    read, rate = soundfile.read(content(media.sound(wave), "audio/flac"), dtype="float32")
    assert rate == RATE and read == pytest.approx(np.clip(wave, -1, 1), abs=1 / 32768)


@pytest.mark.parametrize("hertz", [500, 3000, 7000])
def test_spectrogram_has_a_tone_at_its_height(hertz):
    wave = 0.5 * np.sin(2 * np.pi * hertz / RATE * np.arange(RATE))
    picture = imread(content(media.spectrogram(wave, media.loudest_level(wave), "gray"), "image/png"))[..., 0]
    rows, columns = picture.shape
    assert columns == RATE / media.HOP
    brightest = picture[:, columns // 2].argmax()
    assert 8000 * (1 - (brightest + 0.5) / rows) == pytest.approx(hertz, abs=70)  # the top is 8 kHz
    assert picture[:, columns // 2].max() > 0.9 and np.median(picture) < 0.2


def test_envelope_holds_every_sample():
    wave = np.random.default_rng(0).standard_normal(1003)
    low, high = media.envelope(wave, 10)
    assert low.shape == high.shape == (10,) and low.min() == wave.min() and high.max() == wave.max()
    assert (low < high).all()
    assert len(media.envelope(wave[:3], 10)[0]) == 3
