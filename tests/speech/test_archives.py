"""Audio that is read where it lies in an archive."""

import gc
import os
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.speech import archives
from spin_fairseq.speech.archives import Slice, read_slice, slice_of, stored_bytes
from spin_fairseq.speech.audio import audio_info, read_audio
from spin_fairseq.errors import AudioError


@pytest.fixture
def noises(tmp_path):
    """Some files -> {name: path}."""
    rng = np.random.default_rng(0)
    paths = {name: tmp_path / name for name in ("a.flac", "b.wav", "c.ogg")}
    for path in paths.values():
        soundfile.write(path, 0.1 * rng.standard_normal(4000 + len(path.name)), 16000)
    return paths


def packed(folder, paths, form="zip", **options):
    """An archive made without the packer -> {name: `archive:offset:length`}, the offsets found by looking."""
    archive = folder / f"some.{form}"
    if form == "zip":
        with zipfile.ZipFile(archive, "w", **options) as file:
            for name, path in paths.items():
                file.write(path, name)
    else:
        with tarfile.open(archive, "w") as file:
            for name, path in paths.items():
                file.add(path, name)
    content = archive.read_bytes()
    contents = {name: path.read_bytes() for name, path in paths.items()}
    return {name: f"{archive}:{content.find(own)}:{len(own)}" for name, own in contents.items()}


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_file_in_an_archive_is_the_file(tmp_path, noises, form):
    for name, place in packed(tmp_path, noises, form).items():
        assert np.array_equal(read_audio(place), read_audio(noises[name]))
        assert np.array_equal(read_audio(place, start=100, frames=50), read_audio(noises[name])[100:150])
        assert audio_info(place) == audio_info(noises[name])
        assert stored_bytes(place) == stored_bytes(noises[name]) == noises[name].stat().st_size


@pytest.mark.parametrize(
    "path, part",
    [
        ("a.zip:0:5", Slice("a.zip", 0, 5)),
        ("/r/b:1:2/x.tar:17:9", Slice("/r/b:1:2/x.tar", 17, 9)),
        ("x.zip:1:2:3.zip:4:5", Slice("x.zip:1:2:3.zip", 4, 5)),
        ("two\nlines.zip:4:5", Slice("two\nlines.zip", 4, 5)),
        ("a:1:2", None),
        ("a.flac:1:2", None),
        ("a.zip", None),
        ("a.zip:1", None),
        ("a.zip:-1:2", None),
        ("a.zip:1:2 ", None),
        ("a.zip:1:2\n", None),
        ("a.zip:١:٢", None),
        ("a.zip:1:" + "9" * 30, None),
        ("zip:1:2", None),
    ],
)
def test_what_is_a_place_in_an_archive(path, part):
    assert slice_of(path) == part


@pytest.mark.parametrize("name", ["a:1:2", "a.wav:1:2", "x.zip:1:2", "x.tar:30:4"])
def test_a_file_that_is_really_called_so_is_read(tmp_path, noises, name):
    path = noises["b.wav"].rename(tmp_path / name)
    assert len(read_audio(path)) == 4005 and stored_bytes(path) == path.stat().st_size
    soundfile.write(path, np.zeros(10), 8000, format="WAV")
    with pytest.raises(AudioError, match=f"{name}: has 8000 Hz"):
        read_audio(path)


def test_what_cannot_be_read_names_archive_and_place(tmp_path, noises):
    places = packed(tmp_path, noises)
    archive, offset, length = places["b.wav"].rsplit(":", 2)
    for place, complaint in (
        (f"{tmp_path}/gone.zip:5:6", "no such archive; check the first line of the manifest"),
        (f"{archive}:{offset}:0", "is an empty file"),
        (f"{archive}:{int(offset) + 9}:{length}", "cannot be decoded, is cut off or not audio .*pack the corpus again"),
        (f"{archive}:{offset}:{int(length) - 100}", "is cut off"),
        (f"{archive}:{offset}:{10**17}", "the archive is cut off or another one: it has .* bytes"),
        (f"{archive}:{10**17}:{length}", "the archive is cut off or another one"),
    ):
        for read in (read_audio, audio_info):
            with pytest.raises(AudioError, match=f"^{place}: .*{complaint}"):
                read(place)
    os.mkdir(tmp_path / "folder.tar")
    with pytest.raises(AudioError, match="folder.tar:0:9: the archive is a folder"):
        read_audio(tmp_path / "folder.tar:0:9")


def test_a_cut_off_archive_loses_the_files_behind_the_cut_alone(tmp_path, noises):
    places = packed(tmp_path, noises, "tar")
    archive, offset, _ = places["b.wav"].rsplit(":", 2)
    os.truncate(archive, int(offset) + 100)
    assert len(read_audio(places["a.flac"])) == 4006
    with pytest.raises(AudioError, match=r"some.tar:\d+:\d+: the archive is cut off"):
        read_audio(places["b.wav"])


def test_a_compressed_member_is_an_error_and_not_noise(tmp_path, noises):
    places = packed(tmp_path, {"b.wav": noises["b.wav"]}, compression=zipfile.ZIP_DEFLATED)
    archive, _, length = places["b.wav"].rsplit(":", 2)
    with pytest.raises(AudioError, match="not audio"):
        read_audio(f"{archive}:{30 + len('b.wav')}:{int(length) // 2}")


# --- open files -------------------------------------------------------------------------------------------------------


def descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def many(tmp_path):
    """Twice as many archives as are kept open, each its own number eight times -> [Slice]."""
    parts = []
    for number in range(2 * archives.MOST_OPEN):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(b"....." + number.to_bytes(4, "little") * 8 + b".")
        parts.append(Slice(str(path), 5, 32))
    return parts


def number_in(part):
    return set(np.frombuffer(read_slice(part), "<u4").tolist())


def test_few_archives_stay_open(many):
    before = descriptors()
    assert [number_in(part) for part in many] == [{number} for number in range(len(many))]
    assert descriptors() <= before + archives.MOST_OPEN


def test_threads_read_what_they_ask_for(many):
    """While archives are closed that another thread has just been given."""
    order = np.random.default_rng(0).integers(0, len(many), 20_000).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: number_in(many[number]), order))
    assert found == [{number} for number in order]


def test_forked_processes_read_at_once(many):
    part = many[3]
    assert number_in(part) == {3}  # open before the fork
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            right = all(number_in(many[number]) == {number} for number in [3, 200, 3, 4] * 50)
            os._exit(0 if right else 1)
        children.append(child)
    assert number_in(part) == {3}
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_any_slice_is_its_bytes_or_an_error(tmp_path_factory, content, offset, length):
    path = tmp_path_factory.mktemp("m") / "a.tar"
    path.write_bytes(content)
    if length == 0 or offset + length <= len(content):
        assert read_slice(Slice(str(path), offset, length)) == content[offset : offset + length]
    else:
        with pytest.raises(AudioError, match="cut off"):
            read_slice(Slice(str(path), offset, length))
