"""Files that s3prl made, beside what it computed with them: s3prl/make_fixtures.py."""

import numpy as np
import pytest
import torch

from spin_fairseq.checkpoints import load_encoder, load_spin
from tests.checkpoints.parity import S3PRL_FILES as FOLDER
from tests.checkpoints.parity import S3PRL_GIVEN as GIVEN

kinds = pytest.mark.parametrize("kind", ["hubert", "wavlm"])


@pytest.fixture(scope="module")
def expected():
    with np.load(FOLDER / "expected.npz") as arrays:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def waves(expected):
    return [expected[f"wave{index}"] for index in range(3)]


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-4)


@kinds
@torch.no_grad()
def test_every_layer(kind, expected):
    encoder = load_encoder(FOLDER / f"{kind}.pt")
    assert encoder.config["kind"] == kind
    for index, wave in enumerate(waves(expected)):
        close(torch.cat(encoder.encode_layers(wave[None])), expected[f"{kind}{index}.layers"])


@kinds
@torch.no_grad()
def test_every_layer_of_the_reference(kind, expected):
    encoder = load_encoder(FOLDER / f"spin_{kind}.ckpt", **GIVEN[kind])
    assert encoder.config["kind"] == kind
    for index, wave in enumerate(waves(expected)):
        close(torch.cat(encoder.encode_layers(wave[None])), expected[f"{kind}{index}.layers"])


@kinds
@torch.no_grad()
def test_embeddings_scores_and_codes_of_the_reference(kind, expected):
    model = load_spin(FOLDER / f"spin_{kind}.ckpt", **GIVEN[kind])
    assert model.output_layer == 2
    for index, wave in enumerate(waves(expected)):
        logits, codes = expected[f"{kind}{index}.logits"], expected[f"{kind}{index}.codes"]
        close(model.extract_embeddings(wave[None])[0], expected[f"{kind}{index}.embeddings"])
        close(model.extract_scores(wave[None])[0], 0.1 * logits)
        best, second = (0.1 * logits).topk(2).values.unbind(-1)
        certain = best - second > 1e-4
        assert certain.float().mean() > 0.9
        assert torch.equal(model.extract_units(wave[None])[0][certain], codes[certain])
    assert len(codes.unique()) > 3
