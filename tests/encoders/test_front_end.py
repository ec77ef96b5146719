"""The convolutional front end: whole and in blocks, and the group norm by moments of the wave."""

import copy

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.encoders import AS_EXPORTED, Mode, SpeechEncoder, front_end
from spin_fairseq.encoders.waves import wave_statistics
from tests.oracles.group_norm_oracle import group_norm_oracle
from tests.small_hubert import LARGE_FORM, SMALL
from tests.small_wavlm import small_wavlm

LENGTHS = [9000, 6017, 400, 719]
FORMS = {"large form": LARGE_FORM, "convolutions with bias": {"conv_bias": True}, "normalised": {"normalize": True}}


@pytest.fixture(params=["base", "wavlm", *FORMS])
def encoder(request, make_hubert):
    if request.param == "wavlm":
        return small_wavlm()
    return load_encoder(make_hubert(**FORMS.get(request.param, {})))


@pytest.fixture
def source():
    generator = torch.Generator().manual_seed(1)
    source = torch.zeros(len(LENGTHS), max(LENGTHS))
    for row, length in zip(source, LENGTHS):
        row[:length] = 0.2 + 0.3 * torch.randn(length, generator=generator)  # an offset, which the norm takes away
    return source


def mask_of(source):
    return torch.arange(source.size(1)) >= torch.tensor(LENGTHS)[:, None]


@pytest.mark.parametrize("block", [1, 7, 50])
@torch.no_grad()
def test_blocks_equal_torchs_convolutions(encoder, source, monkeypatch, block):
    """Guards against a block that begins or ends a frame too early, and against taps in another order."""
    monkeypatch.setitem(front_end.FRAMES_A_BLOCK, "cpu", block)
    found, frame_mask = encoder.extract_features(source, mask_of(source), ret_conv=True)
    assert (~frame_mask).sum(1).tolist() == [encoder.output_lengths(length) for length in LENGTHS]
    for row, length in enumerate(LENGTHS):
        (expected,), _ = encoder.extract_features(source[row : row + 1, :length], ret_conv=True, mode=AS_EXPORTED)
        torch.testing.assert_close(found[row, : len(expected)], expected, rtol=1e-4, atol=2e-5)
        assert not found[row, len(expected) :].any()


def test_statistics_see_no_padding():
    """Guards against moments that count padding, or windows that reach into it."""
    waves = 3.0 + torch.randn(3, 400, generator=torch.Generator().manual_seed(0))
    lengths = [400, 173, 10]
    found = wave_statistics(waves, torch.tensor(lengths), 10, 5, windows=True)
    for row, length in enumerate(lengths):
        wave = waves[row, :length].double()
        windows = wave.unfold(0, 10, 5)
        torch.testing.assert_close(found.mean[row], wave.mean()[None])
        torch.testing.assert_close(found.variance[row], wave.var(unbiased=False)[None])
        torch.testing.assert_close(found.window_mean[row], windows.mean(0))
        expected = torch.zeros(10, 10).double() if len(windows) < 2 else torch.cov(windows.t(), correction=0)
        torch.testing.assert_close(found.window_covariance[row], expected)


@torch.no_grad()
def test_group_norm_sees_each_row_alone(source):
    """Guards against the norm of a padded batch, which depends on how much padding follows an utterance."""
    torch.manual_seed(0)
    layer = SpeechEncoder(SMALL).feature_extractor.conv_layers[0]
    torch.nn.init.normal_(layer["2"].weight)
    torch.nn.init.normal_(layer["2"].bias)
    scale, shift = layer.affine(wave_statistics(source, torch.tensor(LENGTHS), 10, 5, windows=True))
    convolved = layer.conv(source.unsqueeze(1)).double()
    frames = [(length - 10) // 5 + 1 for length in LENGTHS]
    for row, expected in enumerate(group_norm_oracle(layer["2"], convolved, frames)):
        found = convolved[row, :, : frames[row]] * scale[row] + shift[row]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("offset", [0.0, 0.9])
def test_a_constant_offset_costs_no_digits(make_hubert, offset, packed, recorded):
    """Guards against a variance as the difference of two large moments: it was wrong by 7e-4 at an offset of .9."""
    encoder = load_encoder(make_hubert())
    exact = copy.deepcopy(encoder).double()
    wave = torch.zeros(2, 16000)
    wave[:, :12000] = 0.02 * torch.randn(12000, generator=torch.Generator().manual_seed(3))
    mask = torch.zeros(2, 16000, dtype=torch.bool)
    mask[:, 12000:] = True
    with torch.set_grad_enabled(recorded):
        found = encoder.encode((wave + offset).masked_fill(mask, 0.0), mask, mode=Mode(packed=packed)).features[:, :37]
    with torch.no_grad():
        shifted = (wave + offset)[:, :12000].double()  # the wave that float32 holds, offset and all
        expected = exact.encode(shifted, mode=AS_EXPORTED).features
    assert (found - expected).abs().max() < 1e-4


@torch.no_grad()
def test_pieces_share_the_statistics_of_the_whole(encoder):
    """Guards against pieces of a long file that are normalised each by itself."""
    torch.manual_seed(2)
    wave = torch.randn(32000) * torch.linspace(0.1, 1.0, 32000)
    whole = encoder.extract_features(wave[None], ret_conv=True).features[0]
    piece, mode = wave[None, 320 * 20 : 320 * 60], Mode(statistics=encoder.statistics(wave[None]))
    part = encoder.extract_features(piece, ret_conv=True, mode=mode).features[0]
    torch.testing.assert_close(part, whole[20 : 20 + len(part)], rtol=1e-4, atol=1e-5)
    twice = piece.expand(2, -1), torch.tensor([[False], [True]]) & (torch.arange(12800) > 9000)
    part = encoder.extract_features(*twice, ret_conv=True, mode=mode).features[1, :27]
    torch.testing.assert_close(part, whole[20:47], rtol=1e-4, atol=1e-5)
