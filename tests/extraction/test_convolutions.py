import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.extraction import convolutions
from spin_fairseq.extraction.convolutions import BlockedConvolutions
from spin_fairseq.extraction.transformer import speed_up
from tests.small_hubert import LARGE_FORM
from tests.small_wavlm import small_wavlm

LENGTHS = [20000, 16017, 400, 719]


@pytest.fixture(params=["base", "large form", "convolutions with bias", "wavlm"])
def encoder(request, make_hubert):
    if request.param == "wavlm":
        return small_wavlm()
    return load_encoder(make_hubert(**{"large form": LARGE_FORM, "convolutions with bias": {"conv_bias": True}}.get(request.param, {})))


@pytest.fixture
def source():
    generator = torch.Generator().manual_seed(1)
    source = torch.zeros(len(LENGTHS), max(LENGTHS))
    for row, length in zip(source, LENGTHS):
        row[:length] = 0.2 + 0.3 * torch.randn(length, generator=generator)  # an offset, which the norm takes away
    return source


@pytest.mark.parametrize("block", [1, 7, 50, 1000])
@torch.no_grad()
def test_equal_torchs_convolutions(encoder, source, monkeypatch, block):
    monkeypatch.setitem(convolutions.FRAMES_A_BLOCK, "cpu", block)
    blocked = BlockedConvolutions(encoder)
    padded, counts = blocked(source, torch.tensor(LENGTHS))
    assert counts.tolist() == [encoder.output_lengths(length) for length in LENGTHS]
    assert padded.shape[:2] == (len(LENGTHS), encoder.output_lengths(max(LENGTHS)))
    for row, length, count in zip(range(4), LENGTHS, counts):
        expected, _ = encoder._convolve(source[row : row + 1, :length], None)
        torch.testing.assert_close(padded[row, :count], expected[0], rtol=1e-4, atol=2e-5)
        assert not padded[row, count:].any()
    whole, none = blocked(source[:1])
    assert none is None and torch.equal(whole[0], padded[0])


@torch.no_grad()
def test_another_extractor_is_left_alone(encoder, source):
    encoder.feature_extractor.conv_layers[1][-1] = torch.nn.ReLU()
    with pytest.raises(ValueError, match="convolution 1"):
        BlockedConvolutions(encoder)
    before = encoder.encode(source)[0]
    torch.testing.assert_close(speed_up(encoder).encode(source)[0], before, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_stretches_share_the_statistics_of_the_whole(encoder):
    torch.manual_seed(2)
    wave = torch.randn(32000) * torch.linspace(0.1, 1.0, 32000)
    blocked = BlockedConvolutions(encoder)
    whole = blocked(wave[None])[0][0]
    with blocked.stretches_of(wave):
        part = blocked(wave[None, 320 * 20 : 320 * 60])[0][0]
    torch.testing.assert_close(part, whole[20 : 20 + len(part)], rtol=1e-4, atol=1e-5)
    assert torch.equal(blocked(wave[None])[0][0], whole)
