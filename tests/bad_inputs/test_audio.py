"""Audio files of every format with every defect: refused by name, left out of training and preparation, counted."""

from functools import partial
import os
import socket
import zipfile

import numpy as np
import pytest
import soundfile

from spin_fairseq.speech.audio import audio_info, read_audio
from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.preparation.manifests import check_audio, find_audio
from spin_fairseq.errors import AudioError
from tests.bad_inputs.judging import files_below, limited, may_refuse, must_refuse
from tests.small_task import small_task

KIND = "audio"
SAMPLES = 6000
FORMATS = [  # container, encoding, and whether it holds numbers with a fraction
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("WAV", "ULAW"), ("WAVEX", "PCM_16"),
    ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("AU", "FLOAT"), ("CAF", "PCM_16"), ("CAF", "FLOAT"),
    ("W64", "PCM_16"), ("RF64", "FLOAT"), ("NIST", "PCM_16"), ("VOC", "PCM_16"),
]  # fmt: skip
WITH_FRACTIONS = ("FLOAT", "DOUBLE")


def noise(channels=1):
    wave = np.random.default_rng(0).uniform(-0.3, 0.3, (SAMPLES, channels))
    return wave[:, 0] if channels == 1 else wave


def write(path, container, encoding, wave=None, rate=16000):
    soundfile.write(path, noise() if wave is None else wave, rate, format=container, subtype=encoding)


def cut(share):
    def defect(path, container, encoding):
        write(path, container, encoding)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return defect


def header_alone(path, container, encoding):
    write(path, container, encoding)
    path.write_bytes(path.read_bytes()[:16])


def other_magic(path, container, encoding):
    write(path, container, encoding)
    path.write_bytes(b"\x7fELF" + path.read_bytes()[4:])


def another_rate(path, container, encoding):
    write(path, container, encoding, rate=8000)


def two_channels(path, container, encoding):
    write(path, container, encoding, noise(2))


def no_samples(path, container, encoding):
    write(path, container, encoding, np.zeros(0))


def of_the_manifest_of_another(path, container, encoding):
    write(path, container, encoding, noise()[: SAMPLES - 1000])


def with_one(value):
    def defect(path, container, encoding):
        wave = noise()
        wave[SAMPLES // 2] = value
        write(path, container, encoding, wave)

    return defect


DEFECTS = {
    "header alone": header_alone, "of another magic": other_magic, "cut at a third": cut(0.3), "cut at 95 %": cut(0.95),
    "at 8 kHz": another_rate, "of two channels": two_channels, "without samples": no_samples,
    "shorter than its manifest says": of_the_manifest_of_another,
}  # fmt: skip
FRACTIONS = {"NaN": with_one(np.nan), "infinite": with_one(np.inf), "minus infinite": with_one(-np.inf)}


def broken_audio(folder):
    """Make them all. -> paths, each with its format and defect in its name."""
    folder.mkdir()
    paths = []
    for container, encoding in FORMATS:
        for name, defect in {**DEFECTS, **(FRACTIONS if encoding in WITH_FRACTIONS else {})}.items():
            path = folder / f"{container} {encoding} {name}.wav"
            defect(path, container, encoding)
            paths.append(path)
    return paths


def other_files(folder):
    """What is no audio at all, or not even a file. -> paths."""
    folder.mkdir()
    contents = {
        "empty": b"", "text": b"relative/path.flac\t16000\n" * 40, "html": b"<!DOCTYPE html><title>404</title>" * 20,
        "zeros": bytes(4000), "ones": b"\xff" * 4000, "random": np.random.default_rng(0).bytes(8000),
        "riff of nothing": b"RIFF\x24\0\0\0WAVE", "riff of no format": b"RIFF\x24\0\0\0WAVEdata\x10\0\0\0" + bytes(16),
        "png": b"\x89PNG\r\n\x1a\n" + bytes(500), "elf": b"\x7fELF" + bytes(500), "gzip": b"\x1f\x8b\x08" + bytes(500),
        "flac magic alone": b"fLaC", "flac of zeros": b"fLaC" + bytes(2000), "ogg of zeros": b"OggS" + bytes(2000),
        "id3 alone": b"ID3\x03\0\0\0\0\0\x7f", "git pointer": b"version https://git-lfs.github.com/spec/v1\n",
    }  # fmt: skip
    for name, content in contents.items():
        (folder / f"{name}.wav").write_bytes(content)
    paths = [folder / f"{name}.wav" for name in contents]
    with zipfile.ZipFile(folder / "zip.wav", "w") as archive:
        archive.writestr("a.wav", b"RIFF")
    (folder / "a folder.wav").mkdir()
    (folder / "dangling.wav").symlink_to(folder / "gone")
    (folder / "around.wav").symlink_to(folder / "around.wav")
    os.mkfifo(folder / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(folder)  # a socket's path may not be long
        bound.bind("socket.wav")
    special = ["zip", "a folder", "dangling", "around", "pipe", "socket", "missing", "long" * 200]
    paths += [folder / f"{name}.wav" for name in special]
    return paths + ["/dev/null", "/dev/zero", "/dev/full", str(folder / "NUL\0.wav"), "", "text.wav/inside.wav"]


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    return broken_audio(tmp_path_factory.mktemp("audio") / "broken")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    before = os.getcwd()
    try:
        return other_files(tmp_path_factory.mktemp("audio") / "others")
    finally:
        os.chdir(before)


def test_formats_with_defects(broken):
    for path in broken:
        must_refuse(KIND, partial(read_audio, path, frames=SAMPLES, expected=SAMPLES), AudioError, path)  # noqa: B023


def test_what_is_no_audio(others):
    for path in others:
        for read in (read_audio, audio_info):
            must_refuse(KIND, lambda: read(path), AudioError, path)  # noqa: B023


def test_every_one_is_a_counted_skip_of_training(broken, others, speech_folder, tmp_path):
    """A batch of nothing but bad files is a batch of which each is named."""
    files = [path for path in map(str, [*broken, *others]) if path and "\0" not in path]
    rows = "".join(f"{path}\t{SAMPLES}\n" for path in files)
    (tmp_path / "train.tsv").write_text(f"/\n{rows}")
    task = small_task(type(speech_folder)(tmp_path, None, None), phones=None)
    task.load_dataset("train")
    dataset = task.dataset("train")
    batch = []
    for index in range(len(files)):
        with limited():
            batch.append(dataset[index])
    batch = dataset.collater(batch)
    assert batch["ignored"] and [index for index, _ in batch["skipped"]] == list(range(len(files)))
    for (_, reason), path in zip(batch["skipped"], files):
        assert os.path.basename(path) in reason


def test_preparation_leaves_every_one_out(broken, others, tmp_path):
    for folder in (broken[0].parent, others[0].parent):
        paths = find_audio(folder)
        usable, left_out = check_audio(paths, jobs=1, description="files")
        whole = {
            "shorter than its manifest says",
            "cut at 95 %",
            "cut at a third",
        }  # which nothing but a manifest tells
        assert all(any(defect in one.path for defect in whole) for one in usable)
        assert len(usable) + len(left_out) == len(paths) and len(left_out) > len(paths) / 2


def test_bytes_changed_at_random(tmp_path):
    """A decoder may not notice: then the wave has its length, and is finite."""
    draw = np.random.default_rng(0)
    for container, encoding in FORMATS:
        path = tmp_path / "changed.wav"
        write(path, container, encoding)
        content = path.read_bytes()
        for size in (1, 10, 200):
            for _ in range(4):
                changed = np.frombuffer(content, np.uint8).copy()
                head = 100 if size == 1 else len(changed)
                changed[draw.integers(0, head, size)] = draw.integers(0, 256, size)
                path.write_bytes(changed.tobytes())
                before = files_below(tmp_path)
                wave = may_refuse(KIND, partial(read_audio, path, frames=SAMPLES, expected=SAMPLES), AudioError, path)
                assert wave is None or (len(wave) == SAMPLES and np.isfinite(wave).all())
                assert files_below(tmp_path) == before


def test_places_in_archives(tmp_path):
    """`archive.zip:offset:length`."""
    write(tmp_path / "good.wav", "WAV", "PCM_16")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "good.wav", "good.wav")
    start = (tmp_path / "all.zip").read_bytes().index(b"RIFF")
    length = (tmp_path / "good.wav").stat().st_size
    good = f"{tmp_path}/all.zip:{start}:{length}"
    assert len(read_audio(good)) == SAMPLES
    for offset, size in [
        (start + 1, length), (start, length - 500), (start, 0), (start, 10), (0, length), (0, 0), (10**9, length),
        (10**18, 10), (start, 10**12), (start, 10**18), (10**30, length), (start, 10**30),
    ]:  # fmt: skip
        path = f"{tmp_path}/all.zip:{offset}:{size}"
        must_refuse(KIND, lambda: read_audio(path, expected=SAMPLES), AudioError, path)  # noqa: B023
    for name in ("gone.zip", "good.wav", "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        path = f"{tmp_path}/{name}:{start}:{length}"
        must_refuse(KIND, lambda: read_audio(path), AudioError, path)  # noqa: B023


def test_a_manifest_whose_files_are_gone(tmp_path):
    (tmp_path / "train.tsv").write_text("audio\na.wav\t100\n")
    manifest = load_manifest(tmp_path, "train")
    must_refuse(KIND, lambda: read_audio(manifest.path(0)), AudioError, tmp_path / "audio" / "a.wav", "first line")
