import pytest

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
