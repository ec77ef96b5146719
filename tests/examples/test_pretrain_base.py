"""What the pre-training of the demo's base adds to fairseq: normalised MFCCs, and the start of an iteration."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"

pytest.importorskip("librosa", reason="pre-training the base wants librosa, which `make setup` does not install")
pytest.importorskip("matplotlib", reason="pre-training the base wants matplotlib")


@pytest.fixture(scope="module")
def pretrain_base():
    path = sys.path.copy()
    sys.path.insert(0, str(DEMO))
    yield importlib.import_module("pretrain_base")
    sys.path[:] = path


def test_normalized_mfccs_forget_the_utterances_offset_and_shrink_wide_dimensions(pretrain_base):
    rng = np.random.default_rng(1)
    wide = np.array([16.0, 1.0, 0.25])
    train = [rng.standard_normal((400, 3)) * wide + offset for offset in (5.0, -3.0)]
    dev = [rng.standard_normal((300, 3)) * wide]

    changed = pretrain_base.normalize_mfcc(dev, train)
    assert np.allclose(changed[0].mean(axis=0), 0.0)
    assert changed[0].std(axis=0) == pytest.approx(np.sqrt(wide), rel=0.1)
    moved = pretrain_base.normalize_mfcc([dev[0] + [7.0, -2.0, 1.0]], train)
    assert np.allclose(moved[0], changed[0])


def test_an_iteration_starts_from_the_weights_before_with_new_cluster_embeddings(pretrain_base, tmp_path):
    before = {"encoder": torch.randn(3), "label_embs_concat": torch.full((6, 4), 7.0)}
    torch.save({"model": before, "last_optimizer_state": {"step": 1}}, tmp_path / "iteration_1.pt")
    dictionary = tmp_path / "dict.km.txt"
    dictionary.write_text("".join(f"{cluster} 1\n" for cluster in range(5)))

    for name in ("start.pt", "again.pt"):
        pretrain_base.write_start(tmp_path / "iteration_1.pt", tmp_path / name, dictionary)
    start, again = (torch.load(tmp_path / name, weights_only=True) for name in ("start.pt", "again.pt"))
    assert set(start) == {"model"} and torch.equal(start["model"]["encoder"], before["encoder"])
    embeddings = start["model"]["label_embs_concat"]
    assert embeddings.shape == (5 + 4, 4)  # fairseq's dictionary adds four symbols
    assert embeddings.min() >= 0 and embeddings.max() <= 1
    assert torch.equal(embeddings, again["model"]["label_embs_concat"])
