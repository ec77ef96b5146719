"""The s3prl upstream without s3prl: what it returns, and that it is found by the names of hubconf.py."""

import importlib.util
from pathlib import Path

import pytest
import torch

from spin_fairseq.checkpoints import load_spin
from tests.spin_checkpoints import save_spin

SUPERB = Path(__file__).resolve().parents[2] / "examples" / "superb"


@pytest.fixture(scope="module", params=["hubert", "wavlm"])
def checkpoint(request, tmp_path_factory):
    return save_spin(tmp_path_factory.mktemp("spin") / "spin.pt", request.param, output_layer=2)


@pytest.fixture(scope="module")
def hubconf():
    spec = importlib.util.spec_from_file_location("hubconf", SUPERB / "hubconf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def waves():
    generator = torch.Generator().manual_seed(1)
    return [0.2 + 0.3 * torch.randn(length, generator=generator) for length in (16000, 9017)]


@torch.no_grad()
def test_every_selection(checkpoint, hubconf, waves):
    model = load_spin(checkpoint)
    expert = hubconf.spin(checkpoint, model_config=None, refresh=False).eval()
    assert expert.get_downsample_rates("hidden_states") == 320
    results = expert(waves)
    for row, wave in enumerate(waves):
        layers = model.encoder.encode_layers(wave[None])
        frames = layers[0].size(1)

        def of_row(name, index, row=row, frames=frames):
            return results[name][index][row, :frames]

        for index, layer in enumerate(layers[:2]):
            torch.testing.assert_close(of_row("hidden", index + 1), layer[0], rtol=1e-4, atol=2e-4)
        torch.testing.assert_close(of_row("last", 0), layers[1][0], rtol=1e-4, atol=2e-4)
        embeddings, scores = model.extract_embeddings(wave[None])[0], model.extract_scores(wave[None])[0]
        torch.testing.assert_close(of_row("disentangled", 0), embeddings, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(of_row("all_feats", 0), embeddings, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(of_row("logits", 0), scores / 0.1, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(of_row("probs", 0), (scores / 0.1).softmax(-1), rtol=1e-3, atol=1e-4)
        assert torch.equal(results["code"][row, :frames], scores.argmax(-1))
    # Three states, the input of the first layer among them: feeding that to the layers gives the others.
    assert len(results["hidden"]) == 3 and len(results["all_feats"]) == 4
    assert results["hidden_states"] is results["hidden"] and results["last_hidden_state"] is results["hidden"][-1]
    again = model.encoder.encode_layers(waves[0][None], layers=[1])[0]
    torch.testing.assert_close(again, results["hidden"][1][:1], rtol=1e-4, atol=2e-4)


@torch.no_grad()
def test_names(checkpoint, hubconf, waves):
    assert set(hubconf.UPSTREAMS) == {"spin", *(f"spin_{name}" for name in
                                               ("all_feats", "hidden", "last", "disentangled", "logits", "probs"))}  # fmt: skip
    for name in hubconf.UPSTREAMS[1:]:
        results = getattr(hubconf, name)(ckpt=str(checkpoint))(waves)
        assert results["hidden_states"] is results[name[len("spin_") :]]
    with pytest.raises(ValueError, match="selection is 'other'"):
        hubconf.spin(checkpoint, selection="other")


@torch.no_grad()
def test_torch_hub(checkpoint, waves):
    expert = torch.hub.load(str(SUPERB), "spin_probs", source="local", ckpt=str(checkpoint))
    torch.testing.assert_close(expert(waves)["last_hidden_state"].sum(-1), torch.ones(2, 49), rtol=0, atol=1e-5)
