import os
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from spin_fairseq.speech.audio import read_audio
from spin_fairseq.preparation.conversion import convert_to_flac
from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.preparation.manifests import prepare_folders
from spin_fairseq.errors import AudioError

pytestmark = pytest.mark.skipif(shutil.which("sox") is None, reason="needs the sox program")


def tone(seconds, sample_rate, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * sample_rate)) / sample_rate)


def loudest_hertz(wave):
    return np.abs(np.fft.rfft(wave)).argmax() * 16000 / len(wave)


@pytest.mark.parametrize(
    "name, sample_rate, channels",
    [("a.wav", 44100, 2), ("a.flac", 16000, 1), ("a.ogg", 22050, 1), ("a[1]*?.wav", 8000, 1), ("a.aiff", 48000, 3), ("|echo.wav", 8000, 1)],
)
def test_the_tone_survives(tmp_path, name, sample_rate, channels):
    source, target = tmp_path / name, tmp_path / "16k" / "a.flac"
    soundfile.write(source, np.stack([tone(1, sample_rate)] * channels, 1), sample_rate)
    samples = convert_to_flac(str(source), str(target))
    wave = read_audio(target)
    assert len(wave) == samples and abs(samples - 16000) < 500
    assert abs(loudest_hertz(wave) - 440) < 3 and abs(np.abs(wave[2000:8000]).max() - 0.5) < 0.03
    assert os.listdir(target.parent) == ["a.flac"]


def test_a_format_that_only_sox_reads(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1, 8000), 8000)
    subprocess.run(["sox", tmp_path / "a.wav", "-t", "sndr", tmp_path / "a.sndr"], check=True)
    with pytest.raises(soundfile.SoundFileError):
        soundfile.info(tmp_path / "a.sndr")
    assert abs(convert_to_flac(str(tmp_path / "a.sndr"), str(tmp_path / "a.flac")) - 16000) < 100


def test_a_format_that_only_soundfile_reads(tmp_path):
    # sox reads MP3 only with an extra package, libsndfile by itself since 1.1; whoever does it, the file is converted.
    if "MP3" not in soundfile.available_formats():
        pytest.skip("this libsndfile knows no MP3")
    soundfile.write(tmp_path / "a.mp3", np.stack([tone(1, 22050)] * 2, 1), 22050)
    assert abs(convert_to_flac(str(tmp_path / "a.mp3"), str(tmp_path / "b.flac")) - 16000) < 2000
    assert abs(loudest_hertz(read_audio(tmp_path / "b.flac")) - 440) < 3


def test_a_flac_of_a_stream_gets_a_length(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(1, 16000), 16000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    assert convert_to_flac(str(tmp_path / "a.flac"), str(tmp_path / "b.flac")) == 16000


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_cut_off_leaves_nothing(tmp_path, name):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(44100), 22050)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    if name == "a.ogg":  # an Ogg file does not say how long it should be
        assert convert_to_flac(str(tmp_path / name), str(tmp_path / "out.flac")) < 32000
        return
    with pytest.raises(AudioError, match=name):
        convert_to_flac(str(tmp_path / name), str(tmp_path / "out.flac"))
    assert os.listdir(tmp_path) == [name]


def test_what_cannot_be_converted(tmp_path):
    (tmp_path / "text.mp3").write_text("no audio at all" * 100)
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan, 1]), 8000, subtype="FLOAT")
    for name, why in [("text.mp3", "neither soundfile nor sox"), ("empty.wav", "empty file"), ("nothing.wav", "no samples"), ("nan.wav", "NaN")]:
        with pytest.raises(AudioError, match=f"{name}: .*{why}"):
            convert_to_flac(str(tmp_path / name), str(tmp_path / "out.flac"))


def test_missing_sox_is_said(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", tone(0.1, 8000), 8000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match="apt install sox"):
        convert_to_flac(str(tmp_path / "a.wav"), str(tmp_path / "a.flac"))


def test_finished_conversions_are_kept_and_newer_sources_made_anew(tmp_path):
    source, target = tmp_path / "a.wav", tmp_path / "a.flac"
    soundfile.write(source, tone(1, 8000), 8000)
    convert_to_flac(str(source), str(target))
    stamp = target.stat().st_mtime_ns
    assert convert_to_flac(str(source), str(target)) == 16000 and target.stat().st_mtime_ns == stamp
    soundfile.write(source, tone(0.5, 8000), 8000)
    os.utime(source, ns=(stamp + 10**9, stamp + 10**9))
    assert convert_to_flac(str(source), str(target)) == 8000
    target.write_bytes(target.read_bytes()[:2000])  # not a finished one
    assert convert_to_flac(str(source), str(target)) == 8000


def test_a_folder_of_all_sorts(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "a.wav", tone(0.5, 44100), 44100)
    soundfile.write(folder / "a.ogg", tone(0.25, 22050), 22050)  # the same stem: both are kept
    soundfile.write(folder / "b-1.flac", tone(0.5, 16000), 16000)
    (folder / "c.mp3").write_text("no audio")
    for _ in range(2):  # a second run finds its own conversions below the folder, and leaves them alone
        report = prepare_folders([folder], tmp_path / "out", split="train", jobs=2, convert_to=folder / "16k")
        manifest = load_manifest(tmp_path / "out", "train")
        assert [manifest.utterance_id(i) for i in range(len(manifest))] == ["a.ogg", "a.wav", "b-1"]
        assert manifest.path(2) == str(folder / "16k" / "b-1.flac") and abs(manifest.sizes - [4000, 8000, 8000]).max() < 300
        assert "c.mp3" in "\n".join(report)
