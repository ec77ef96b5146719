import io
import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.errors import AudioError
from spin_fairseq.speech.piped_audio import piped_audio

RATE = 16000
WAVE = (0.4 * np.sin(np.arange(4001) * 0.05) + 0.1 * np.random.default_rng(0).standard_normal(4001)).astype(np.float32)


class Pipe:
    """What comes out of a pipe: pieces of any length, and then the end."""

    def __init__(self, data, pieces=(7, 1000, 1, 333)):
        self.data, self.pieces, self.turn = data, pieces, 0

    def read1(self, size):
        size = min(size, self.pieces[self.turn % len(self.pieces)])
        self.turn += 1
        data, self.data = self.data[:size], self.data[size:]
        return data


def wav(wave, subtype="PCM_16", rate=RATE, form="WAV"):
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=form, subtype=subtype)
    return file.getvalue()


def decoded(data, pieces=(7, 1000, 1, 333), **options):
    return np.concatenate([np.zeros(0, np.float32), *piped_audio(Pipe(data, pieces), **options)])


@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_kind_of_wav_is_what_soundfile_reads(subtype, form):
    data = wav(WAVE, subtype, form=form)
    expected = soundfile.read(io.BytesIO(data), dtype="float32")[0]
    np.testing.assert_array_equal(decoded(data), expected)


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.integers(1, 2000), min_size=1, max_size=6), kind=st.sampled_from(["wav", "s16le", "f32le"]))
def test_pieces_change_nothing(pieces, kind):
    """Guards against a sample that is cut in two by the pipe."""
    stereo = np.stack([WAVE[:500], -0.5 * WAVE[:500]], 1)
    pcm = (stereo * 32767).astype("<i2")
    data = {"wav": wav(stereo), "s16le": pcm.tobytes(), "f32le": stereo.astype("<f4").tobytes()}[kind]
    options = {} if kind == "wav" else {"sample_rate": RATE, "encoding": kind, "channels": 2}
    np.testing.assert_allclose(decoded(data, pieces, **options), stereo.mean(1), atol=5e-5)
    np.testing.assert_allclose(decoded(data, pieces, channel=2, **options), stereo[:, 1], atol=5e-5)


@pytest.mark.parametrize("promised", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_wav_that_does_not_know_its_length_is_read_to_the_end(promised):
    """Guards against ffmpeg's, sox's and arecord's headers in a pipe, whose lengths are no lengths."""
    data = bytearray(wav(WAVE))
    data[4:8] = struct.pack("<I", 0xFFFFFFFF)
    data[40:44] = struct.pack("<I", promised)
    assert len(decoded(bytes(data))) == len(WAVE)


def test_what_stands_behind_the_samples_is_no_audio():
    """Guards against tags behind the samples that sound like noise."""
    data = wav(WAVE)
    assert len(decoded(data + b"LIST" + struct.pack("<I", 400) + b"x" * 400)) == len(WAVE)


def test_a_wav_that_ends_early_is_told_of(caplog):
    assert len(decoded(wav(WAVE)[:-100])) == len(WAVE) - 50
    assert "100 bytes before the end" in caplog.text


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_other_rates_are_resampled_as_a_whole_file_is(rate):
    """Guards against clicks where pieces meet, a delay, and a drift."""
    import soxr

    wave = (0.4 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)).astype(np.float32)
    found = decoded(wav(wave, "FLOAT", rate), (4096, 100))
    np.testing.assert_allclose(found, soxr.resample(wave, rate, RATE), atol=1e-4)
    expected = 0.4 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    np.testing.assert_allclose(found[500:-500], expected[500:-500], atol=2e-3)


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (b"", {}, "is empty"),
        (b"fLaC" + bytes(50), {"sample_rate": RATE}, "is FLAC; pipe it through ffmpeg"),
        (bytes(100), {}, "--sample-rate 16000"),
        (wav(WAVE), {"sample_rate": 8000}, "16000 Hz, not 8000 Hz"),
        (wav(WAVE), {"channel": 2}, "no channel 2"),
        (wav(WAVE)[:30], {}, "header is cut off"),
        (wav(WAVE)[:36], {}, "ends before its samples"),
        (wav(WAVE, "ULAW"), {}, "format 7 with 8 bits"),
        (wav(WAVE)[:12] + wav(WAVE)[36:], {}, "does not say what its samples are"),
        (wav(WAVE)[:12] + b"junk\xff\xff\xff\x7f", {}, "damaged WAV"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(data, options, words):
    with pytest.raises(AudioError, match=words):
        decoded(data, **options)


@pytest.mark.parametrize("seconds", [0.0001, 0.0002])
def test_raw_audio_may_be_shorter_than_a_header(seconds):
    pcm = (WAVE[: int(seconds * RATE)] * 32767).astype("<i2")
    assert len(decoded(pcm.tobytes(), sample_rate=RATE)) == len(pcm)


def test_a_piece_is_passed_on_when_it_is_there():
    """Guards against waiting until a buffer is full, which would delay a microphone's units by seconds."""
    pipe = Pipe(b"\1\0" * 1000, pieces=(320,))
    waves = piped_audio(pipe, sample_rate=RATE)
    assert len(next(waves)) == 160 + 6  # the first 12 bytes were looked at before
    assert len(pipe.data) == 2000 - 332


@pytest.mark.parametrize("program", ["ffmpeg", "sox"])
def test_what_programs_write_into_a_pipe(program, tmp_path):
    """Guards against a header that a program writes differently into a pipe than into a file."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    (tmp_path / "a.wav").write_bytes(wav(np.stack([WAVE, WAVE], 1), "PCM_24"))
    command = {
        "ffmpeg": ["ffmpeg", "-v", "error", "-i", "a.wav", "-f", "wav", "-"],
        "sox": ["sox", "a.wav", "-t", "wav", "-"],
    }[program]
    data = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    np.testing.assert_allclose(decoded(data), WAVE, atol=1e-4)
