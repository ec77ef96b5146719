"""Products by oneDNN beside torch's own."""

import pytest
import torch
import torch.nn.functional as F

from spin_fairseq.modules import products
from spin_fairseq.modules.products import Linear, linear, takes_onednn

# To the last bit; MKL computes a few rows in another order, and so did the oneDNN of torch 2.2.
ROWS_ALIKE = products.onednn_is_faster() and torch.__version__ >= (2, 13)


@pytest.fixture(params=["oneDNN", "oneDNN where it is faster"])
def library(request, monkeypatch):
    """oneDNN, even for small products and on a processor where it is no faster."""
    monkeypatch.setattr(products, "FEWEST", 0)
    if request.param == "oneDNN":
        monkeypatch.setattr(products, "onednn_is_faster", lambda: True)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_it_is_torchs_linear_with_its_gradients(library, gelu, biased):
    """Guards against a wrong transposition, a bias that is left out, and the other form of GELU."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 7, 10, generator=generator, requires_grad=True)
    layer = Linear(10, 6, bias=biased)
    assert torch.equal(layer.state_dict()["weight"], layer.weight)
    expected = F.linear(x, layer.weight, layer.bias)
    expected = F.gelu(expected) if gelu else expected
    found = layer(x, gelu=gelu)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, gelu=gelu), expected, rtol=1e-5, atol=2e-6)
    weight = torch.randn(found.shape, generator=generator)
    wanted = (x, *layer.parameters())
    for one, other in zip(
        torch.autograd.grad((found * weight).sum(), wanted), torch.autograd.grad((expected * weight).sum(), wanted)
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", ["x", "weight"])
def test_what_is_frozen_has_no_gradient(library, frozen):
    """Guards against a gradient that is asked for by name and not computed, and one that nobody asked for."""
    x, weight = torch.randn(5, 4, requires_grad=frozen != "x"), torch.randn(3, 4, requires_grad=frozen != "weight")
    linear(x, weight).sum().backward()
    assert (x.grad is None) == (frozen == "x") and (weight.grad is None) == (frozen == "weight")


@torch.no_grad()
def test_windows_may_overlap(library):
    """Guards against rows that are read one behind the other where they lie in each other."""
    x, weight = torch.randn(200), torch.randn(5, 12)
    windows = x.as_strided((90, 12), (2, 1), 3)
    torch.testing.assert_close(linear(windows, weight), F.linear(windows.contiguous(), weight), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_row_does_not_depend_on_how_many_there_are(library):
    """Guards against units that depend on a batch, or on the shard that an utterance is in."""
    x, weight = torch.randn(600, 64), torch.randn(96, 64)
    whole = linear(x, weight, gelu=True)
    for rows in (2, 37, 100, 499):
        found = linear(x[:rows], weight, gelu=True)
        torch.testing.assert_close(found, whole[:rows], rtol=1e-5, atol=1e-5)
        if ROWS_ALIKE:
            assert torch.equal(found, whole[:rows])


def test_other_precisions_exports_and_nothing_at_all_go_to_torch(library):
    """Guards against an operator that knows float32 alone being given something else, or being exported."""
    x, weight = torch.randn(5, 4), torch.randn(3, 4)
    for dtype in (torch.float64, torch.bfloat16):
        assert not takes_onednn(x.to(dtype), weight.to(dtype))
        torch.testing.assert_close(linear(x.to(dtype), weight.to(dtype)), F.linear(x.to(dtype), weight.to(dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        assert not takes_onednn(x, weight) and linear(x, weight).dtype == torch.bfloat16
    assert linear(x[:0], weight).shape == (0, 3)
    traced = torch.jit.trace(lambda x: linear(x, weight), (x,))
    assert "mkldnn" not in str(traced.graph)


def test_it_is_on_where_a_processor_has_more_than_mkl_uses():
    """Guards against an operator that this torch does not have, or has in another form, so that all is as slow as before."""
    held_back = "Intel" not in products._vendor() and torch.backends.cpu.get_cpu_capability() == "AVX512"
    if not (held_back and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        pytest.skip("MKL is not held back here")
    assert products.onednn_is_faster()
