import os
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from spin_fairseq.speech.audio import read_audio
from spin_fairseq.preparation.conversion import convert_to_flac, recorded_origin
from spin_fairseq.preparation.mp3_frames import mp3_lengths
from spin_fairseq.preparation.mp3_warnings import WARNING, without_xing_warnings
from spin_fairseq.preparation.ogg_links import chained_seconds
from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.preparation.manifests import find_audio, target_names
from spin_fairseq.errors import AudioError, ManifestError
from tests.prepared import prepare_folders

pytestmark = pytest.mark.skipif(shutil.which("sox") is None, reason="needs the sox program")


def tone(seconds, sample_rate, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * sample_rate)) / sample_rate)


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")


def loudest_hertz(wave):
    return np.abs(np.fft.rfft(wave)).argmax() * 16000 / len(wave)


@pytest.mark.parametrize(
    "name, sample_rate, channels",
    [
        ("a.wav", 44100, 2),
        ("a.flac", 16000, 1),
        ("a.ogg", 22050, 1),
        ("a[1]*?.wav", 8000, 1),
        ("a.aiff", 48000, 3),
        ("|echo.wav", 8000, 1),
    ],
)
def test_the_tone_survives(tmp_path, name, sample_rate, channels):
    source, target = tmp_path / name, tmp_path / "16k" / "a.flac"
    soundfile.write(source, np.stack([tone(1, sample_rate)] * channels, 1), sample_rate)
    samples = convert_to_flac(str(source), str(target)).samples
    wave = read_audio(target)
    assert len(wave) == samples and abs(samples - 16000) < 500
    assert abs(loudest_hertz(wave) - 440) < 3 and abs(np.abs(wave[2000:8000]).max() - 0.5) < 0.03
    assert os.listdir(target.parent) == ["a.flac"]


def test_a_format_that_only_sox_reads(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1, 8000), 8000)
    subprocess.run(["sox", tmp_path / "a.wav", "-t", "sndr", tmp_path / "a.sndr"], check=True)
    with pytest.raises(soundfile.SoundFileError):
        soundfile.info(tmp_path / "a.sndr")
    assert abs(convert_to_flac(str(tmp_path / "a.sndr"), str(tmp_path / "a.flac")).samples - 16000) < 100


def test_a_format_that_only_soundfile_reads(tmp_path):
    # sox reads MP3 only with an extra package, libsndfile by itself since 1.1; whoever does it, the file is converted.
    if "MP3" not in soundfile.available_formats():
        pytest.skip("this libsndfile knows no MP3")
    soundfile.write(tmp_path / "a.mp3", np.stack([tone(1, 22050)] * 2, 1), 22050)
    assert abs(convert_to_flac(str(tmp_path / "a.mp3"), str(tmp_path / "b.flac")).samples - 16000) < 2000
    assert abs(loudest_hertz(read_audio(tmp_path / "b.flac")) - 440) < 3


def test_a_flac_of_a_stream_gets_a_length(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(1, 16000), 16000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    assert convert_to_flac(str(tmp_path / "a.flac"), str(tmp_path / "b.flac")).samples == 16000


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_cut_off_leaves_nothing(tmp_path, name):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(44100), 22050)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    if name == "a.ogg":  # an Ogg file does not say how long it should be
        assert convert_to_flac(str(tmp_path / name), str(tmp_path / "out.flac")).samples < 32000
        return
    with pytest.raises(AudioError, match=name):
        convert_to_flac(str(tmp_path / name), str(tmp_path / "out.flac"))
    assert os.listdir(tmp_path) == [name]


def test_what_cannot_be_converted(tmp_path):
    (tmp_path / "text.mp3").write_text("no audio at all" * 100)
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan, 1]), 8000, subtype="FLOAT")
    for name, why in [
        ("text.mp3", "(neither|none of) soundfile"),
        ("empty.wav", "empty file"),
        ("nothing.wav", "no samples"),
        ("nan.wav", "NaN"),
    ]:
        with pytest.raises(AudioError, match=f"{name}: .*{why}"):
            convert_to_flac(str(tmp_path / name), str(tmp_path / "out.flac"))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="a.wav: is a pipe or a device"):
        convert_to_flac(str(tmp_path / "a.wav"), str(tmp_path / "a.flac"))


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
    assert convert_to_flac(str(source), str(target)).samples == 16000 and target.stat().st_mtime_ns == stamp
    soundfile.write(source, tone(0.5, 8000), 8000)
    os.utime(source, ns=(stamp + 10**9, stamp + 10**9))
    assert convert_to_flac(str(source), str(target)).samples == 8000
    target.write_bytes(target.read_bytes()[:2000])  # not a finished one
    assert convert_to_flac(str(source), str(target)).samples == 8000


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
        assert (
            manifest.path(2) == str(folder / "16k" / "b-1.flac")
            and abs(manifest.sizes - [4000, 8000, 8000]).max() < 300
        )
        assert "c.mp3" in "\n".join(report)


def converted_hertz(source, target, **options):
    convert_to_flac(str(source), str(target), **options)
    return round(loudest_hertz(read_audio(target)))


def test_a_replaced_source_is_converted_again(tmp_path):
    """A source that was replaced by an older file, or one of the same size, stayed as it was."""
    source, target = tmp_path / "a.wav", tmp_path / "16k" / "a.flac"
    soundfile.write(source, tone(1, 8000, 200), 8000)
    assert converted_hertz(source, target) == 200
    soundfile.write(source, tone(1, 8000, 1000), 8000)  # of the same size
    os.utime(source, (10**9, 10**9))  # older
    assert converted_hertz(source, target) == 1000


def test_two_sources_do_not_share_a_conversion(tmp_path):
    """Two splits that were converted into one folder had one recording under both names."""
    for split, hertz in (("train", 1000), ("dev", 200)):
        (tmp_path / split / "anna").mkdir(parents=True)
        soundfile.write(tmp_path / split / "anna" / "001.wav", tone(1, 16000, hertz), 16000)
    prepare_folders([tmp_path / "train"], tmp_path, split="train", jobs=1, convert_to=tmp_path / "16k")
    with pytest.raises(
        ManifestError, match="16k/anna/001.flac: is the conversion of .*train/anna/001.wav; that of .*dev/anna/001.wav"
    ):
        prepare_folders([tmp_path / "dev"], tmp_path, split="dev", jobs=1, convert_to=tmp_path / "16k")
    assert (
        not (tmp_path / "dev.tsv").exists()
        and round(loudest_hertz(read_audio(tmp_path / "16k" / "anna" / "001.flac"))) == 1000
    )


def test_a_folder_that_was_moved_keeps_its_conversions(tmp_path):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", tone(1, 8000), 8000)
    convert_to_flac(str(tmp_path / "in" / "a.wav"), str(tmp_path / "16k" / "a.flac"))
    stamp = (tmp_path / "16k" / "a.flac").stat().st_mtime_ns
    (tmp_path / "in").rename(tmp_path / "moved")
    convert_to_flac(str(tmp_path / "moved" / "a.wav"), str(tmp_path / "16k" / "a.flac"))
    assert (tmp_path / "16k" / "a.flac").stat().st_mtime_ns == stamp


def test_a_file_in_the_way_is_not_overwritten(tmp_path):
    """What does not say that it is a conversion of the source may be somebody's only copy; equal audio is taken over."""
    soundfile.write(tmp_path / "a.wav", tone(1, 16000), 16000)
    soundfile.write(tmp_path / "a.flac", tone(1, 16000, 300), 16000)
    content = (tmp_path / "a.flac").read_bytes()
    with pytest.raises(ManifestError, match="a.flac: is in the way, and is not the conversion of .*a.wav"):
        convert_to_flac(str(tmp_path / "a.wav"), str(tmp_path / "a.flac"))
    assert (tmp_path / "a.flac").read_bytes() == content and sorted(os.listdir(tmp_path)) == ["a.flac", "a.wav"]
    soundfile.write(tmp_path / "a.flac", soundfile.read(tmp_path / "a.wav")[0], 16000)
    convert_to_flac(str(tmp_path / "a.wav"), str(tmp_path / "a.flac"))
    assert recorded_origin(str(tmp_path / "a.flac"))[0].path == str(tmp_path / "a.wav")


def test_names_that_differ_in_their_suffixes_alone(tmp_path):
    """x.wav, x.flac and x.wav.flac became two rows of one file: one recording was lost."""
    (tmp_path / "in").mkdir()
    wanted = {"x.wav": 200, "x.flac": 500, "x.wav.flac": 1000}
    for name, hertz in wanted.items():
        soundfile.write(tmp_path / "in" / name, tone(1, 44100, hertz), 44100)
    prepare_folders([tmp_path / "in"], tmp_path, split="train", jobs=1, convert_to=tmp_path / "16k")
    manifest = load_manifest(tmp_path, "train")
    assert sorted(round(loudest_hertz(read_audio(manifest.path(i)))) for i in range(3)) == [200, 500, 1000]
    assert manifest.speakers() == {"x", "x.wav"}  # as of the sources


@pytest.mark.parametrize(
    "names", [["a/x.wav", "a/x.flac", "a/x.wav.flac", "a/x.wav.flac.flac"], ["x.wav", "x.mp3", "x.mp3.mp3", "y.wav"]]
)
def test_targets_are_all_different(names):
    targets = target_names([f"/in/{name}" for name in names], "/in", "/out")
    assert (
        len(set(targets.values())) == len(names) and "/in/y.wav" not in targets or targets["/in/y.wav"] == "/out/y.flac"
    )


def test_sources_are_never_the_targets(tmp_path):
    """Two folders converted into the one above them: each FLAC would have been replaced by its own conversion."""
    for name in "ab":
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "x.flac", tone(1, 44100), 44100)
    with pytest.raises(ManifestError, match="a/x.flac: is itself to be converted"):
        prepare_folders([tmp_path / "a", tmp_path / "b"], tmp_path / "out", split="train", jobs=1, convert_to=tmp_path)
    assert soundfile.info(tmp_path / "a" / "x.flac").samplerate == 44100


# --- MP3 --------------------------------------------------------------------------------------------------------


@pytest.fixture
def mp3s(tmp_path):
    """plain.mp3, cut.mp3 (its first half), double.mp3 (it and one of 900 Hz), no_xing.mp3 (plain without its header)."""
    if "MP3" not in soundfile.available_formats():
        pytest.skip("this libsndfile knows no MP3")
    folder = tmp_path / "in"
    folder.mkdir()
    for name, hertz in (("plain", 300), ("second", 900)):  # noise makes frames of different sizes
        noise = 0.01 * np.random.default_rng(0).standard_normal(4 * 16000) * np.linspace(0, 1, 4 * 16000)
        soundfile.write(
            folder / f"{name}.mp3", tone(4, 16000, hertz) + noise, 16000, compression_level=0.5, bitrate_mode="VARIABLE"
        )
    plain = (folder / "plain.mp3").read_bytes()
    (folder / "cut.mp3").write_bytes(plain[: len(plain) // 2])
    (folder / "double.mp3").write_bytes(plain + (folder / "second.mp3").read_bytes())
    at = max(plain.find(b"Xing"), plain.find(b"Info"))
    assert at > 0
    second_frame = plain.find(plain[:2], at)
    (folder / "no_xing.mp3").write_bytes(plain[second_frame:])
    return folder


def test_frames_of_mp3s_are_counted(mp3s):
    lengths = {name: mp3_lengths(str(mp3s / f"{name}.mp3")) for name in ("plain", "cut", "double", "no_xing")}
    assert abs(lengths["plain"].frames - 4) < 0.2 and abs(lengths["plain"].promised - 4) < 0.2
    assert lengths["cut"].frames < 3 and abs(lengths["cut"].promised - 4) < 0.2
    assert abs(lengths["double"].frames - 8) < 0.4 and abs(lengths["double"].promised - 4) < 0.2
    assert abs(lengths["no_xing"].frames - 4) < 0.2 and lengths["no_xing"].promised is None


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_false_length_is_told_once_and_by_name(mp3s, tmp_path, capfd, jobs):
    """libmpg123 warned on stderr, twice for each time that such a file was opened, and without its name."""
    report = prepare_folders([mp3s], tmp_path / "out", split="train", jobs=jobs)
    assert "double.mp3: holds 8." in "\n".join(report)
    assert capfd.readouterr().err == ""


def test_other_messages_are_passed_on(capfd):
    """Guards against the loss of what a library has to say while libmpg123 is silenced."""
    with pytest.raises(KeyboardInterrupt), without_xing_warnings():
        os.write(2, b"before\n" + WARNING + b", fuzzy seeking may follow!\nbehind")
        raise KeyboardInterrupt
    os.write(2, b" it\n")
    assert capfd.readouterr().err == "before\nbehind it\n"


def test_frames_are_found_between_tags_and_junk(mp3s, tmp_path):
    plain = (mp3s / "plain.mp3").read_bytes()
    tag = b"ID3\x04\0\0\0\0\x02\x00" + bytes(range(250)) + b"\xff\xfb\x90\x00\xff\xff"
    (tmp_path / "tagged.mp3").write_bytes(tag + plain + b"TAG" + b"\xff" * 125 + b"APETAGEX" + b"\xff\xfb" * 50)
    assert mp3_lengths(str(tmp_path / "tagged.mp3")) == mp3_lengths(str(mp3s / "plain.mp3"))
    for content in (b"no audio" * 100, b"\xff" * 1000, b"ID3"):
        (tmp_path / "junk.mp3").write_bytes(content)
        assert mp3_lengths(str(tmp_path / "junk.mp3")) is None


def test_a_cut_mp3_is_not_completed_with_what_was_left_in_a_buffer(mp3s, tmp_path):
    """`SoundFile.blocks` goes by the header: the missing half was what the block before had, or another file."""
    with pytest.raises(AudioError, match="cut.mp3: is cut off: .* s of its 4.1. s are missing"):
        convert_to_flac(str(mp3s / "cut.mp3"), str(tmp_path / "cut.flac"))
    with pytest.raises(AudioError, match="cut.mp3: is cut off"):
        read_audio(mp3s / "cut.mp3")


@needs_ffmpeg
@pytest.mark.parametrize("name, seconds", [("double", 8), ("no_xing", 4)])
def test_mp3s_without_a_true_header_are_whole(mp3s, tmp_path, name, seconds):
    """Of two files in a row the second was lost, and of one of variable bit rate without a header its end."""
    converted = convert_to_flac(str(mp3s / f"{name}.mp3"), str(tmp_path / "a.flac"))
    assert abs(converted.samples / 16000 - seconds) < 0.3 and converted.note == ""
    wave = read_audio(tmp_path / "a.flac")
    assert abs(loudest_hertz(wave[-16000:]) - (900 if name == "double" else 300)) < 5


def test_without_ffmpeg_both_lengths_are_told(mp3s, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for program in ("sox", "soxi"):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    converted = convert_to_flac(str(mp3s / "double.mp3"), str(tmp_path / "a.flac"))
    whole = convert_to_flac(str(mp3s / "plain.mp3"), str(tmp_path / "b.flac"))
    assert whole.note == ""
    if converted.samples < 7 * 16000:  # a sox without MP3
        assert "by its frames, of which 4" in converted.note and "install ffmpeg" in converted.note
    assert convert_to_flac(str(mp3s / "double.mp3"), str(tmp_path / "a.flac")) == converted  # kept, and told again


def test_an_mp3_that_is_taken_as_it_is_tells_what_is_not_read(mp3s, tmp_path):
    report = "\n".join(prepare_folders([mp3s], tmp_path, split="train", jobs=1))
    assert "double.mp3: holds 8" in report and "--convert-to takes all of it" in report and "plain.mp3" not in report
    assert "cut.mp3" in (tmp_path / "train.broken.txt").read_text()


# --- channels, and formats that ffmpeg reads -------------------------------------------------------------------------


def test_channels_that_cancel_are_told(tmp_path):
    """The mean of opposite phases is silence, which was written without a word."""
    source = tmp_path / "a.wav"
    soundfile.write(source, np.stack([tone(1, 16000, 300), -tone(1, 16000, 300)], 1), 16000)
    with pytest.raises(
        AudioError, match=r"a.wav: its channels cancel each other: .* dB .*--channel left, right, or 1 to 2"
    ):
        convert_to_flac(str(source), str(tmp_path / "a.flac"))
    assert os.listdir(tmp_path) == ["a.wav"]
    assert converted_hertz(source, tmp_path / "a.flac", channel=1) == 300
    assert abs(np.abs(read_audio(tmp_path / "a.flac")).max() - 0.5) < 0.01
    soundfile.write(source, np.stack([tone(1, 16000, 300), -0.7 * tone(1, 16000, 300)], 1), 16000)
    assert "its channels cancel each other" in convert_to_flac(str(source), str(tmp_path / "b.flac")).note


def test_one_channel_of_several(tmp_path):
    source = tmp_path / "a.wav"
    soundfile.write(source, np.stack([tone(1, 44100, hertz) for hertz in (200, 500, 1000, 1500, 2000, 2500)], 1), 44100)
    assert [converted_hertz(source, tmp_path / "a.flac", channel=n) for n in (1, 2, 6)] == [200, 500, 2500]
    with pytest.raises(AudioError, match="has 6 channels, so there is no channel 7"):
        convert_to_flac(str(source), str(tmp_path / "a.flac"), channel=7)
    soundfile.write(source, tone(1, 44100, 300), 44100)
    assert converted_hertz(source, tmp_path / "a.flac", channel=2) == 300  # the only one that there is


@pytest.mark.parametrize("gains", [(1, 0), (0, 1), (1, 1), (0, 0, 1, 0, 0, 0)])
def test_channels_that_do_not_cancel_are_taken(tmp_path, gains):
    soundfile.write(tmp_path / "a.wav", np.stack([gain * tone(1, 16000, 300) for gain in gains], 1), 16000)
    assert convert_to_flac(str(tmp_path / "a.wav"), str(tmp_path / "a.flac")).note == ""
    soundfile.write(tmp_path / "b.wav", np.zeros((16000, 2)), 16000)  # silence is no fault of the mean
    assert convert_to_flac(str(tmp_path / "b.wav"), str(tmp_path / "b.flac")).note == ""


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "a.wma", "a.opus", "a.webm", "a.aac", "a.amr", "a.wv"])
def test_formats_that_ffmpeg_reads(tmp_path, name):
    """M4A ended in "SoXI failed with exit code 1"."""
    soundfile.write(tmp_path / "a.wav", np.stack([tone(2, 8000)] * (1 if name == "a.amr" else 2), 1), 8000)
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", tmp_path / name], capture_output=True)
    if done.returncode:
        pytest.skip("this ffmpeg does not write it")
    converted = convert_to_flac(str(tmp_path / name), str(tmp_path / "a.flac"))
    assert abs(converted.samples - 32000) < 3200 and abs(loudest_hertz(read_audio(tmp_path / "a.flac")) - 440) < 3
    assert str(tmp_path / name) in find_audio(tmp_path)


@needs_ffmpeg
def test_a_cut_m4a_is_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(80000), 16000)
    words = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-movflags", "faststart", tmp_path / "a.m4a"]
    subprocess.run(words, check=True)
    content = (tmp_path / "a.m4a").read_bytes()
    (tmp_path / "a.m4a").write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match="a.m4a: is cut off"):
        convert_to_flac(str(tmp_path / "a.m4a"), str(tmp_path / "a.flac"))


def test_what_ffmpeg_would_read_names_it(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for program in ("sox", "soxi"):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program))
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(200))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(AudioError, match="a.m4a: neither soundfile nor sox can decode it; install ffmpeg"):
        convert_to_flac(str(tmp_path / "a.m4a"), str(tmp_path / "a.flac"))
    with pytest.raises(AudioError, match="is MP4 .M4A., which is not read as it is; convert the folder"):
        read_audio(tmp_path / "a.m4a")


@needs_ffmpeg
def test_a_playlist_is_not_followed(tmp_path):
    """ffmpeg reads lists of other files and addresses; a recording has no business with them."""
    soundfile.write(tmp_path / "secret.wav", tone(1, 16000), 16000)
    (tmp_path / "a.m4a").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n")
    (tmp_path / "b.wav").write_text("ffconcat version 1.0\nfile secret.wav\n")
    for name in ("a.m4a", "b.wav"):
        with pytest.raises(AudioError, match=f"{name}: none of soundfile, sox and ffmpeg can decode it"):
            convert_to_flac(str(tmp_path / name), str(tmp_path / "a.flac"))


# --- Ogg --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["VORBIS", "OPUS"])
def ogg_chain(request, tmp_path):
    """Two Ogg files in a row: 3 s of 300 Hz, 4 s of 900 Hz."""
    if request.param not in soundfile.available_subtypes("OGG"):
        pytest.skip("this libsndfile does not write it")
    folder = tmp_path / "in"
    folder.mkdir()
    for name, seconds, hertz in (("a", 3, 300), ("b", 4, 900)):
        soundfile.write(folder / f"{name}.ogg", tone(seconds, 16000, hertz), 16000, format="OGG", subtype=request.param)
    chain = folder / "chain.ogg"
    chain.write_bytes((folder / "a.ogg").read_bytes() + (folder / "b.ogg").read_bytes())
    return chain


def test_links_of_an_ogg_file_are_counted(ogg_chain, tmp_path):
    assert abs(chained_seconds(str(ogg_chain)) - 7) < 0.1
    assert chained_seconds(str(ogg_chain.with_name("a.ogg"))) is None
    for content in (b"OggS", b"OggS" * 100, b"no audio" * 100, ogg_chain.read_bytes()[:40]):
        (tmp_path / "junk.ogg").write_bytes(content)
        assert chained_seconds(str(tmp_path / "junk.ogg")) is None


@needs_ffmpeg
def test_ogg_files_in_a_row_are_whole(ogg_chain, tmp_path):
    """The second one was lost without a word."""
    converted = convert_to_flac(str(ogg_chain), str(tmp_path / "a.flac"))
    wave = read_audio(tmp_path / "a.flac")
    assert abs(converted.samples / 16000 - 7) < 0.2 and converted.note == ""
    assert abs(loudest_hertz(wave[:16000]) - 300) < 5 and abs(loudest_hertz(wave[-16000:]) - 900) < 5


def test_ogg_files_in_a_row_are_told_where_the_second_is_not_read(ogg_chain, tmp_path, monkeypatch):
    report = "\n".join(prepare_folders([ogg_chain.parent], tmp_path, split="train", jobs=1))
    assert "chain.ogg: holds 7.0" in report and "of which 3.00 s were read" in report and "--convert-to" in report
    assert "a.ogg: " not in report
    (tmp_path / "bin").mkdir()
    for program in ("sox", "soxi"):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    converted = convert_to_flac(str(ogg_chain), str(tmp_path / "b.flac"))
    assert "of which 3.00 s were read: it is several Ogg files in a row; install ffmpeg" in converted.note
