import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.extraction.transformer import speed_up
from tests.small_hubert import LARGE_FORM
from tests.small_wavlm import small_wavlm

LENGTHS = [20000, 16017, 400, 719]
ENCODERS = ["hubert", "hubert, large form", "wavlm", "wavlm, large form"]


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


@pytest.mark.parametrize("frames", [1, 9, 500])
@torch.no_grad()
def test_every_layer_of_every_row_as_by_the_encoder_itself(encoder, source, frames):
    expected = [encoder.encode_layers(source[row : row + 1, :length]) for row, length in enumerate(LENGTHS)]
    mask = torch.arange(source.size(1)) >= torch.tensor(LENGTHS)[:, None]
    fast = speed_up(encoder, frames)
    together = fast.encode_layers(source, mask)
    assert len(together) == encoder.num_layers
    for layer, output in enumerate(together):
        for row, length in enumerate(LENGTHS):
            frames = encoder.output_lengths(length)
            torch.testing.assert_close(output[row, :frames], expected[row][layer][0], rtol=1e-4, atol=1e-4)
            assert not output[row, frames:].any()
    third, _, frame_mask = fast.encode(source, mask, 2)
    assert torch.equal(third, together[1]) and frame_mask.shape == third.shape[:2]
    torch.testing.assert_close(fast.encode(source[:1])[0], together[2][:1], rtol=1e-4, atol=1e-4)
