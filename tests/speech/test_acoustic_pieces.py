"""Acoustic pieces as training reads them."""

import json

import numpy as np
import pytest

from spin_fairseq.errors import PiecesError
from spin_fairseq.speech.acoustic_pieces import AcousticPieces, number_of_classes, read_settings
from spin_fairseq.speech.manifest import load_manifest
from tests.small_pieces import make_pieces

pytest.importorskip("tokenizers", reason="comes with the extra pieces")


@pytest.fixture
def folder(speech_folder, tmp_path):
    return make_pieces(speech_folder.data, tmp_path)


def stored(folder, split):
    """-> the stored numbers of each utterance, by its id."""
    lengths = list(map(int, (folder / f"{split}.len").read_text().split()))
    flat = np.fromfile(folder / f"{split}.bin", read_settings(folder)["dtype"])
    rows = np.split(flat, np.cumsum(lengths)[:-1])
    return dict(zip((folder / f"{split}.ids").read_text().split(), rows, strict=True))


@pytest.mark.parametrize("keep", [slice(None), slice(None, None, -1)])
def test_each_utterance_has_its_own_targets(speech_folder, tmp_path, keep):
    """Guards against targets of a neighbour where pieces and manifest have another order."""
    folder = make_pieces(speech_folder.data, tmp_path, keep=keep)
    manifest = load_manifest(speech_folder.data, "train")
    manifest = manifest.select(manifest.sizes > np.sort(manifest.sizes)[3])  # as training drops short ones
    pieces, by_id, used = AcousticPieces(folder, "train"), stored(folder, "train"), read_settings(folder)["used"]
    assert pieces.classes == len(used) == number_of_classes(folder)
    for index, row in enumerate(pieces.rows_of(manifest)):
        expected = by_id[manifest.utterance_id(index)]
        found = pieces.targets(row, 0, 10_000)
        assert [used[target] for target in found] == expected.tolist()
        assert pieces.targets(row, 7, 5).tolist() == found[7:12].tolist()
        assert len(pieces.targets(row, len(found) - 2, 5)) == 2  # never the next utterance's


def test_missing_utterances_are_named(speech_folder, tmp_path):
    folder = make_pieces(speech_folder.data, tmp_path, keep=slice(0, 3))
    manifest = load_manifest(speech_folder.data, "train")
    with pytest.raises(PiecesError, match=f"no pieces for 9 of the 12 utterances .*{manifest.utterance_id(3)}"):
        AcousticPieces(folder, "train").rows_of(manifest)


def test_pieces_of_other_audio_are_told(speech_folder, folder):
    """Guards against targets of another frame rate, which would train without a word."""
    manifest = load_manifest(speech_folder.data, "train")
    settings = json.loads((folder / "pieces.json").read_text())
    (folder / "pieces.json").write_text(json.dumps({**settings, "frame_samples": 160}))
    with pytest.raises(PiecesError, match="another frame rate: 12 of the 12"):
        AcousticPieces(folder, "train").rows_of(manifest)


def test_damaged_folders_are_told(folder, tmp_path):
    with pytest.raises(PiecesError, match="pieces.json: no such file; make it with spin-fairseq pieces"):
        number_of_classes(tmp_path)
    with pytest.raises(PiecesError, match="no whole pieces of the split 'test'"):
        AcousticPieces(folder, "test")
    (folder / "dev.bin").write_bytes((folder / "dev.bin").read_bytes()[:-2])
    with pytest.raises(PiecesError, match="dev.bin: has .* frames instead of"):
        AcousticPieces(folder, "dev")
    (folder / "train.len").write_text("many\n")
    with pytest.raises(PiecesError, match="train.bin: cannot be read"):
        AcousticPieces(folder, "train")
    for content in ("{}", "[", '{"format": "another"}'):
        (folder / "pieces.json").write_text(content)
        with pytest.raises(PiecesError, match="is damaged, or of another release"):
            read_settings(folder)
