"""One encoder, computed in every way: packed or padded, whole or in blocks, with and without a graph."""

import itertools
from dataclasses import replace

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.encoders import AS_EXPORTED, Mode, positions, transformer
from tests.small_hubert import LARGE_FORM
from tests.small_wavlm import small_wavlm

LENGTHS = [9000, 6017, 400, 719]
ENCODERS = ["hubert", "hubert, large form", "wavlm", "wavlm, large form"]
MODES = [Mode(packed=packed, block=block) for packed, block in itertools.product([True, False], [1, 9, None])]
MODES += [Mode(packed=packed, block=9, together=True) for packed in (True, False)]  # as on a GPU
each_mode = pytest.mark.parametrize(
    "mode", MODES, ids=[f"packed={mode.packed}, block={mode.block}, together={mode.together}" for mode in MODES]
)


@pytest.fixture(params=ENCODERS)
def encoder(request, make_hubert):
    options = {"normalize": True, **LARGE_FORM} if "large form" in request.param else {}
    return small_wavlm(**options) if "wavlm" in request.param else load_encoder(make_hubert(**options))


@pytest.fixture
def source():
    generator = torch.Generator().manual_seed(1)
    source = torch.zeros(len(LENGTHS), max(LENGTHS))
    for row, length in zip(source, LENGTHS):
        row[:length] = 0.2 + 0.3 * torch.randn(length, generator=generator)
    return source


@pytest.fixture
def mask(source):
    return torch.arange(source.size(1)) >= torch.tensor(LENGTHS)[:, None]


@each_mode
@torch.no_grad()
def test_every_layer_of_every_row_as_of_the_row_alone(encoder, source, mask, mode, monkeypatch):
    """Guards against attention to another utterance or to padding, and against blocks put together wrongly."""
    monkeypatch.setattr(positions, "LONGEST_WHOLE_BIAS", 20)  # the longest of the rows has 27 frames
    monkeypatch.setattr(transformer, "BIASES_AT_ONCE", 27 * 5)
    monkeypatch.setattr(transformer, "FEWEST_QUERIES", 1)
    together = encoder.encode_layers(source, mask, range(encoder.num_layers + 1), mode)
    for row, length in enumerate(LENGTHS):
        alone = encoder.encode_layers(source[row : row + 1, :length], None, range(encoder.num_layers + 1), AS_EXPORTED)
        for output, expected in zip(together, alone):
            torch.testing.assert_close(output[row, : expected.size(1)], expected[0], rtol=1e-4, atol=1e-4)
    second, frame_mask = encoder.encode(source, mask, 2, mode=mode)
    assert torch.equal(second, together[2])
    assert (~frame_mask).sum(1).tolist() == [encoder.output_lengths(length) for length in LENGTHS]
    unpadded = encoder.encode(source[:1], mode=mode).features
    torch.testing.assert_close(unpadded, together[-1][:1], rtol=1e-4, atol=1e-4)


def gradients(encoder, source, mask, mode, frozen=()):
    groups = encoder.layer_groups()
    for name in frozen:
        for module in groups[name]:
            module.requires_grad_(False)
    encoder.zero_grad()
    features, frame_mask = encoder.encode(source, mask, mode=mode)
    weight = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    (features * weight).masked_fill(frame_mask.unsqueeze(-1), 0.0).sum().backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("frozen", [(), ("cnn", "pos", "1"), ("2",)], ids=str)
@pytest.mark.parametrize(
    "mode",
    [Mode(packed=True, block=9), Mode(packed=False, block=9), Mode(packed=False, block=9, together=True)],
    ids=["packed", "padded", "padded, as on a GPU"],
)
def test_gradients_are_those_of_padded_rows(encoder, source, mask, mode, frozen):
    """Guards against a graph that ends where blocks begin, and against gradients through padding."""
    expected = gradients(encoder, source, mask, AS_EXPORTED, frozen)
    found = gradients(encoder, source, mask, mode, frozen)
    assert found.keys() == expected.keys()
    largest = max(gradient.norm() for gradient in expected.values())
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6 * largest, name


@torch.no_grad()
def test_a_mask_without_padding_is_no_mask(encoder, source):
    """Guards against attention with a mask, which is slower, where nothing is padded; the result is bit for bit the same."""
    plain = encoder.encode(source)
    masked = encoder.encode(source, torch.zeros_like(source, dtype=torch.bool))
    assert torch.equal(plain.features, masked.features)
    assert plain.frame_mask is None and not masked.frame_mask.any()


@torch.no_grad()
def test_rows_too_short_for_a_frame(encoder, source, mask):
    """Guards against a crash, or a wrong neighbour, where a row of a batch has no frame at all."""
    mask[2, 100:] = True
    features, frame_mask = encoder.encode(source, mask)
    assert frame_mask[2].all() and torch.isfinite(features[~frame_mask]).all()
    (expected,), _ = encoder.encode(source[3:, :719])
    torch.testing.assert_close(features[3, :1], expected, rtol=1e-4, atol=1e-4)


@each_mode
@torch.no_grad()
def test_progress_sums_to_one_whatever_is_asked_for(encoder, source, mask, mode):
    """Guards against a bar that stands still during a long file, or that ends too early or too late."""
    told = []
    mode = replace(mode, progress=told.append)
    for passes in (
        lambda: encoder.encode(source, mask, mode=mode),
        lambda: encoder.encode(source[:1], output_layer=2, mode=mode),
        lambda: encoder.encode_layers(source, mask, [0, 1], mode=mode),
        lambda: encoder.extract_features(source, mask, ret_conv=True, mode=mode),
    ):
        told.clear()
        passes()
        assert abs(sum(told) - 1) < 1e-6 and min(told) > 0
