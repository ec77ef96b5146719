import os

import numpy as np
import pytest
import soundfile

from spin_fairseq.speech.audio import audio_info, read_audio
from spin_fairseq.errors import AudioError


@pytest.fixture
def wave():
    return (0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)


def saved(path, wave, sample_rate=16000, **kwargs):
    soundfile.write(path, wave, sample_rate, **kwargs)
    return path


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_reads_all_or_a_stretch(tmp_path, wave, suffix):
    path = saved(tmp_path / f"a{suffix}", wave)
    read = read_audio(path)
    assert read.dtype == np.float32 and read.shape == (8000,) and np.allclose(read, wave, atol=1e-4)
    assert np.array_equal(read_audio(path, start=100, frames=50), read[100:150])
    assert np.array_equal(read_audio(str(path), start=7000), read[7000:])
    assert audio_info(path) == (8000, 16000, 1)


def test_another_rate_only_when_asked_for(tmp_path, wave):
    path = saved(tmp_path / "a.wav", wave, 8000)
    assert len(read_audio(path, sample_rate=8000)) == 8000 and audio_info(path)[1] == 8000
    with pytest.raises(AudioError, match="8000 Hz instead of 16000 Hz.*--convert-to"):
        read_audio(path)


def test_stereo(tmp_path, wave):
    path = saved(tmp_path / "a.wav", np.stack([wave, wave], 1))
    assert audio_info(path) == (8000, 16000, 2)
    with pytest.raises(AudioError, match="2 channels.*--convert-to"):
        read_audio(path)


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_cut_off(tmp_path, wave, suffix):
    path = cut(saved(tmp_path / f"a{suffix}", wave))
    with pytest.raises(AudioError, match=f"a{suffix}: .*cut off"):
        read_audio(path)


@pytest.mark.parametrize("expected", [7999, 8001])
def test_another_length_than_the_manifest_says(tmp_path, wave, expected):
    path = saved(tmp_path / "a.wav", wave)
    with pytest.raises(
        AudioError, match=f"a.wav: has 8000 samples, but its manifest says {expected}.*prepare it again"
    ):
        read_audio(path, frames=100, expected=expected)
    assert len(read_audio(path, frames=100, expected=8000)) == 100


def test_damaged_in_the_middle(tmp_path, wave):
    path = saved(tmp_path / "a.flac", wave)
    content = bytearray(path.read_bytes())
    content[4000:4400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="a.flac"):
        read_audio(path)


def test_wav_of_a_stream_that_did_not_know_its_length(tmp_path, wave):
    path = saved(tmp_path / "a.wav", wave)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(read_audio(path)) == 8000


def test_flac_without_a_length(tmp_path, wave):
    path = saved(tmp_path / "a.flac", wave)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    for read in (read_audio, audio_info):
        with pytest.raises(AudioError, match="does not say how long.*--convert-to"):
            read(path)


def test_no_samples(tmp_path):
    path = saved(tmp_path / "a.wav", np.zeros(0, np.float32))
    for read in (read_audio, audio_info):
        with pytest.raises(AudioError, match="no samples"):
            read(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(tmp_path, wave, bad):
    wave[1234] = bad
    path = saved(tmp_path / "a.wav", wave, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        read_audio(path)
    assert len(read_audio(path, frames=1000)) == 1000


def test_loud_but_finite(tmp_path):
    assert len(read_audio(saved(tmp_path / "a.wav", np.full(8000, 3e38, np.float32), subtype="FLOAT"))) == 8000


@pytest.mark.parametrize("start, frames", [(0, 8001), (8000, -1), (9000, -1), (7000, 1001), (-1, 10), (0, 0)])
def test_a_stretch_that_is_not_there(tmp_path, wave, start, frames):
    path = saved(tmp_path / "a.flac", wave)
    with pytest.raises(AudioError, match="8000 samples.*manifest"):
        read_audio(path, start=start, frames=frames)


@pytest.mark.parametrize("read", [read_audio, audio_info])
def test_what_is_not_audio(tmp_path, read):
    (tmp_path / "empty.flac").touch()
    (tmp_path / "text.flac").write_text("This is no audio.\n" * 100)
    with pytest.raises(AudioError, match="none.flac: no such file.*first line of the manifest"):
        read(tmp_path / "none.flac")
    with pytest.raises(AudioError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(AudioError, match="empty.flac: is an empty file"):
        read(tmp_path / "empty.flac")
    with pytest.raises(AudioError, match="text.flac: cannot be decoded"):
        read(tmp_path / "text.flac")
    with pytest.raises(AudioError, match="cannot be decoded|no such file"):
        read(tmp_path / "text.flac" / "below.flac")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path, wave):
    path = saved(tmp_path / "a.flac", wave)
    path.chmod(0)
    with pytest.raises(AudioError, match="permissions"):
        read_audio(path)


def test_a_name_that_is_not_utf8_is_read(tmp_path):
    """soundfile encodes names strictly: the file was called damaged."""
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 16000)
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    os.rename(tmp_path / "a.wav", path)
    assert len(read_audio(os.fsdecode(path))) == 800
