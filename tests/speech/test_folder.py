import numpy as np
import pytest
import soundfile

from spin_fairseq.speech.folder import manifest_of
from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.errors import ManifestError


def test_a_folder_gives_its_audio_files(speech_folder):
    manifest = manifest_of(speech_folder.data / "audio")
    listed = [load_manifest(speech_folder.data, split) for split in ("train", "dev")]
    expected = {m.utterance_id(i): int(m.sizes[i]) for m in listed for i in range(len(m))}
    assert {manifest.utterance_id(i): int(manifest.sizes[i]) for i in range(len(manifest))} == expected


def test_a_manifest_is_taken_as_it_is(speech_folder):
    manifest = manifest_of(speech_folder.data / "dev.tsv")
    assert [manifest.path(i) for i in range(len(manifest))] == [
        load_manifest(speech_folder.data, "dev").path(i) for i in range(len(manifest))
    ]


def test_what_is_neither_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="gone"):
        manifest_of(tmp_path / "gone")
    with pytest.raises(ManifestError, match="no audio files"):
        manifest_of(tmp_path)


def test_one_list_of_suffixes_and_what_is_left_out_is_said(tmp_path, caplog):
    """macOS's `._x.flac` ended the run; `.aiff` and `.au` were passed over in silence, `.m4a` too."""
    for name in ("a.aiff", "b.au", "c.WAV", "d.flac"):
        soundfile.write(tmp_path / name, np.zeros(800), 16000, format=name.split(".")[1].upper())
    (tmp_path / "._d.flac").write_bytes(b"\0\5\x16\7")
    (tmp_path / "e.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    soundfile.write(tmp_path / "f.wav", np.zeros(800), 44100)
    soundfile.write(tmp_path / "g.wav", np.zeros(399), 16000)
    soundfile.write(tmp_path / "h\n.wav", np.zeros(800), 16000)
    (tmp_path / "i.txt").write_text("no audio")
    manifest = manifest_of(tmp_path)
    assert [manifest.name(i) for i in range(len(manifest))] == ["a.aiff", "b.au", "c.WAV", "d.flac"]
    assert "4 of its 8 audio files are left out" in caplog.text
    for words in (
        "e.m4a: is MP4",
        "f.wav: has 44100 Hz",
        "g.wav: has 399 samples, less than one frame",
        "h\\n.wav: has a tab or line break",
    ):
        assert words in caplog.text


def test_a_folder_is_no_temporary_file(speech_folder):
    """Results named a manifest in /tmp that was gone."""
    manifest = manifest_of(speech_folder.data / "audio")
    assert manifest.source == speech_folder.data / "audio" and manifest.root == str(speech_folder.data / "audio")


def test_nothing_usable_names_the_files(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(ManifestError, match="none of its 1 audio files can be used(?s:.*)a.wav: is an empty file"):
        manifest_of(tmp_path)
