import pytest
import torch

from spin_fairseq.checkpoints import load_encoder


@pytest.fixture(scope="module")
def main(demo_module):
    return demo_module("make_wavlm_base").main


@torch.no_grad()
def test_a_wavlm_with_the_weights_of_hubert(main, small_hubert, tmp_path):
    paths = [tmp_path / "new folder" / name for name in ("first.pt", "second.pt")]
    for path in paths:
        main([str(path), "--hubert", str(small_hubert)])
    assert sorted(paths[0].parent.iterdir()) == paths  # nothing unfinished is left
    hubert, wavlm, again = map(load_encoder, (small_hubert, *paths))
    assert wavlm.config["kind"] == "wavlm" and wavlm.normalize == hubert.normalize
    state = wavlm.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in again.state_dict().items())
    assert all(torch.equal(state[name], tensor) for name, tensor in hubert.state_dict().items())
    bias = wavlm.encoder.layers[0].self_attn.relative_attention_bias.weight
    assert bias.shape == (320, 4) and 0.01 < bias.std() < 0.03

    source = torch.randn(1, 16000)
    ours, theirs = wavlm.extract_features(source)[0], hubert.extract_features(source)[0]
    assert not torch.equal(ours, theirs)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.1)


def test_usage(main, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "make_wavlm_base.py OUT" in capsys.readouterr().out
