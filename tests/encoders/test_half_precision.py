"""Products in half precision, and all between them in float32."""

import pytest
import torch
from torch import nn

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.encoders import Mode
from spin_fairseq.errors import ConfigError
from spin_fairseq.modules import products
from tests.small_hubert import LARGE_FORM
from tests.small_wavlm import small_wavlm

LENGTHS = [9000, 6017, 719]


@pytest.fixture(params=["hubert", "large form", "wavlm"])
def encoder(request, make_hubert):
    if request.param == "wavlm":
        return small_wavlm().eval()
    return load_encoder(make_hubert(**(LARGE_FORM if request.param == "large form" else {})))


@pytest.fixture
def batch():
    source = torch.randn(len(LENGTHS), max(LENGTHS), generator=torch.Generator().manual_seed(1))
    return source, torch.arange(source.size(1)) >= torch.tensor(LENGTHS)[:, None]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("library", ["oneDNN", "torch's choice"])
@torch.no_grad()
def test_features_are_near_those_of_float32_in_every_mode(encoder, batch, dtype, library, monkeypatch):
    """Guards against norms, waves or residuals that are rounded too, and a mode that half precision does not reach."""
    if library == "oneDNN":
        monkeypatch.setattr(products, "FEWEST", 0)
        monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    modes = [Mode(packed=True, block=9), Mode(packed=False, block=9, together=True), Mode(packed=False, block=None)]
    expected = [encoder.encode(*batch, mode=mode) for mode in modes]
    assert encoder.multiply_in(dtype) is encoder and encoder.product_dtype == dtype
    rounded = 2**-7 if dtype == "bfloat16" else 2**-10
    for mode, (wanted, frame_mask) in zip(modes, expected):
        found = encoder.encode(*batch, mode=mode).features
        difference = (found - wanted)[~frame_mask]
        assert found.dtype == torch.float32
        assert 0 < difference.norm() < 4 * rounded * wanted[~frame_mask].norm()


def test_norms_and_the_first_convolution_keep_their_precision(encoder):
    """Guards against what costs units and gains no time: few numbers, or a wave of eight bits."""
    encoder.multiply_in("bfloat16")
    kept = [encoder.feature_extractor.conv_layers[0].conv, encoder.encoder.pos_conv]
    kept += [module for module in encoder.modules() if isinstance(module, (nn.LayerNorm, nn.GroupNorm))]
    assert all(parameter.dtype == torch.float32 for module in kept for parameter in module.parameters())


def test_another_precision_is_refused(encoder):
    """Guards against a name that torch knows and that computes something else, such as int8."""
    with pytest.raises(ConfigError, match="dtype is 'int8': it must be one of float32, bfloat16, float16"):
        encoder.multiply_in("int8")
