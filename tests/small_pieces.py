"""Acoustic pieces of tests/synthetic_speech's folder, of units that are drawn."""

import numpy as np

from spin_fairseq.extraction.acoustic_pieces import write_pieces
from spin_fairseq.speech.manifest import load_manifest

FRAME_SAMPLES = 320


def units_of(samples, seed, codes=20):
    """As many units as frames of HuBERT."""
    rng = np.random.default_rng(seed)
    frames = (samples - 400) // FRAME_SAMPLES + 1
    return np.repeat(rng.integers(0, codes, frames), rng.integers(1, 4, frames))[:frames]


def write_unit_file(data, split, folder, keep=slice(None)):
    """-> path of a .km of some utterances of a split, in the order that `keep` gives."""
    manifest = load_manifest(data, split)
    rows = list(range(len(manifest)))[keep]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split}.km"
    path.write_text("".join(" ".join(map(str, units_of(int(manifest.sizes[i]), i))) + "\n" for i in rows))
    path.with_suffix(".ids").write_text("".join(manifest.utterance_id(i) + "\n" for i in rows))
    return path


def make_pieces(data, folder, splits=("train", "dev"), keep=slice(None), vocabulary=60):
    """-> folder for task.pieces."""
    files = [write_unit_file(data, split, folder / "units", keep) for split in splits]
    write_pieces(files, folder / "pieces", vocabulary=vocabulary, codes=20)
    return folder / "pieces"
