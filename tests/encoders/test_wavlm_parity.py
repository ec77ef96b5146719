"""WavLM beside transformers' and torchaudio's, with the same random weights: every layer, and the gradients.

Their group norm (Base form) sees the padding of a batch, so padded rows are compared with their rows alone; in the
Large form, which has none, also with transformers' padded batch. torchaudio's WavLM takes no padded batch.
"""

import pytest
import torch
import torch.nn.functional as F

from spin_fairseq.encoders import SpeechEncoder
from spin_fairseq.encoders.positions import RelativePositionBias
from tests.other_wavlms import OTHERS
from tests.small_hubert import LARGE_FORM
from tests.small_wavlm import BASE_WAVLM, wavlm_config

FORMS = {"base": {}, "large": {**LARGE_FORM, "normalize": True}}
LENGTHS = (400, 3000, 8017, 20000)  # samples: 1, 9, 24 and 62 frames
form = pytest.mark.parametrize("options", FORMS.values(), ids=FORMS.keys())
other = pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())


def build(other, **options):
    """-> the other's model, and ours with its weights."""
    torch.manual_seed(0)
    config = wavlm_config(**options)
    theirs, ours = other(config), SpeechEncoder(config).eval()
    state = {"mask_emb": ours.mask_emb.data, **theirs.rename(theirs.model.state_dict())}
    ours.load_state_dict(state)
    return theirs, ours


def waves(*lengths):
    generator = torch.Generator().manual_seed(1)
    return [0.1 + 0.3 * torch.randn(length, generator=generator) for length in lengths]


def padded(rows):
    longest = max(map(len, rows))
    source = torch.stack([F.pad(row, (0, longest - len(row))) for row in rows])
    return source, torch.arange(longest) >= torch.tensor([[len(row)] for row in rows])


def prepared(ours, wave):
    """The wave as the others want it: normalised beforehand."""
    return F.layer_norm(wave, wave.shape) if ours.normalize else wave


def assert_close(outputs, expected):
    assert len(outputs) == len(expected)
    for ours, theirs in zip(outputs, expected):
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-4)


@form
@other
@torch.no_grad()
def test_every_layer_single_and_padded(other, options):
    theirs, ours = build(other, **options)
    rows = waves(*LENGTHS)
    batch, mask = padded(rows)
    together = ours.encode_layers(batch, mask)
    for row, wave in enumerate(rows):
        expected = theirs.layers(prepared(ours, wave)[None])
        assert expected[0].std() > 0.1
        assert_close(ours.encode_layers(wave[None]), expected)
        frames = ours.output_lengths(len(wave))
        assert_close([output[row : row + 1, :frames] for output in together], expected)


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@torch.no_grad()
def test_a_padded_batch_of_the_large_form_equals_transformers():
    theirs, ours = build(OTHERS["transformers"], **FORMS["large"])
    rows = waves(*LENGTHS)
    normalised, mask = padded([prepared(ours, wave) for wave in rows])
    expected = theirs.layers(normalised, mask)
    outputs = ours.encode_layers(*padded(rows))
    for row, wave in enumerate(rows):
        frames = ours.output_lengths(len(wave))
        assert_close([x[row, :frames] for x in outputs], [x[row, :frames] for x in expected])


@form
@other
def test_gradients(other, options):
    theirs, ours = build(other, **options)
    (wave,) = waves(20000)
    weight = torch.randn(1, ours.output_lengths(len(wave)), ours.width)
    (theirs.layers(prepared(ours, wave)[None])[-1] * weight).sum().backward()
    (ours.extract_features(wave[None])[0] * weight).sum().backward()

    expected = theirs.rename({name: p.grad for name, p in theirs.model.named_parameters() if p.grad is not None})
    found = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    assert any("relative_attention_bias" in name for name in found) and any("grep_a" in name for name in found)
    largest = max(gradient.norm() for gradient in expected.values())
    for name, gradient in expected.items():
        # The keys' bias has no effect, and so no gradient but for rounding.
        assert (found[name] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-6 * largest, name


@pytest.mark.parametrize("buckets, max_distance", [(320, 800), (320, 1280), (16, 20), (32, 128)])
def test_every_distance_has_the_bucket_of_transformers(buckets, max_distance):
    wavlm = pytest.importorskip("transformers.models.wavlm.modeling_wavlm")
    theirs = wavlm.WavLMAttention(8, 2, num_buckets=buckets, max_distance=max_distance)
    distances = torch.arange(-4000, 4001)
    found = RelativePositionBias(buckets, 2, max_distance).buckets(distances)
    assert torch.equal(found, theirs._relative_positions_bucket(distances))
    assert found.unique().tolist() == [*range(buckets // 2), *range(buckets // 2 + 1, buckets)]  # 0 frames: not behind


@pytest.mark.slow
@other
@torch.no_grad()
def test_base_size(other):
    theirs, ours = build(other, **BASE_WAVLM)
    (wave,) = waves(50000)  # 156 frames: past the 80 distances that have a bucket each
    assert_close(ours.encode_layers(wave[None]), theirs.layers(wave[None]))
