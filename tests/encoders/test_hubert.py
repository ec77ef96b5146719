import pytest
import torch
import torch.nn.functional as F
from tests.small_hubert import LARGE_FORM, fairseq_hubert

from spin_fairseq.checkpoints import load_encoder

FORMS = {
    "base": {},
    "base, normalised wave": {"normalize": True},
    "large": {**LARGE_FORM, "normalize": True},
    "no projection after the convolutions": {"encoder_embed_dim": 32},
}
form = pytest.mark.parametrize("options", FORMS.values(), ids=FORMS.keys())


def waves(*lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [0.1 + 0.3 * torch.randn(length, generator=generator) for length in lengths]


def padded(rows, extra=0):
    longest = max(map(len, rows)) + extra
    source = torch.stack([F.pad(row, (0, longest - len(row))) for row in rows])
    return source, torch.arange(longest) >= torch.tensor([[len(row)] for row in rows])


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5)


@form
@torch.no_grad()
def test_every_layer_equals_fairseqs(make_hubert, options):
    theirs, _ = fairseq_hubert(**options)
    ours = load_encoder(make_hubert(**options))
    source = torch.stack(waves(8000, 8000))
    normalised = F.layer_norm(source, source.shape[-1:]) if options.get("normalize") else source
    mask = torch.zeros_like(source, dtype=torch.bool)
    for layer in (1, 2, 3):
        expected, _ = theirs.extract_features(normalised, output_layer=layer)
        close(ours.extract_features(source, output_layer=layer)[0], expected)
        features, frame_mask = ours.extract_features(source, mask, output_layer=layer)
        close(features, expected)
        assert frame_mask.shape == features.shape[:2] and not frame_mask.any()
    close(ours.extract_features(source)[0], expected)  # no number: the last layer, without the final norm
    close(ours.extract_features(source, ret_conv=True)[0], theirs.extract_features(normalised, ret_conv=True)[0])


@form
@torch.no_grad()
def test_a_padded_batch_equals_single_files(make_hubert, options):
    encoder = load_encoder(make_hubert(**options))
    rows = waves(3000, 8000, 5321, 400)
    for extra in (0, 4000):
        features, frame_mask = encoder.extract_features(*padded(rows, extra))
        for row, wave in enumerate(rows):
            (alone,), _ = encoder.extract_features(wave[None])
            frames = encoder.output_lengths(len(wave))
            assert len(alone) == frames == (~frame_mask[row]).sum()
            assert not frame_mask[row, :frames].any()
            close(features[row, :frames], alone)


def test_output_lengths_of_int_and_tensor(make_hubert):
    encoder = load_encoder(make_hubert())
    assert encoder.output_lengths(16000) == 49 and encoder.output_lengths(400) == 1
    assert encoder.output_lengths(torch.tensor([16000, 400])).tolist() == [49, 1]


@torch.no_grad()
def test_half_precision_weights_and_padding(make_hubert):
    encoder = load_encoder(make_hubert())
    source, mask = padded(waves(3000, 8000))
    single, _ = encoder.extract_features(source, mask)
    half, frame_mask = encoder.bfloat16().extract_features(source.bfloat16(), mask)
    assert half.dtype == torch.bfloat16
    similarity = F.cosine_similarity(half[~frame_mask].float(), single[~frame_mask], dim=-1)
    assert similarity.min() > 0.98


def test_layerdrop_is_off(make_hubert):
    encoder = load_encoder(make_hubert(encoder_layerdrop=0.9)).train()
    runs = [0] * 3
    for i, layer in enumerate(encoder.encoder.layers):
        layer.register_forward_hook(lambda *_, i=i: runs.__setitem__(i, runs[i] + 1))
    for _ in range(5):
        encoder.extract_features(torch.randn(1, 2000))
    assert runs == [5, 5, 5]


def test_pretraining_parts_are_left_out(make_hubert):
    encoder = load_encoder(make_hubert())
    assert not [name for name, _ in encoder.named_parameters() if "final_proj" in name or "label_embs" in name]
    assert not encoder.training


def test_all_layers_by_one_pass_equal_each_by_its_own(small_hubert):
    encoder = load_encoder(small_hubert)
    source, mask = torch.randn(2, 9000), torch.zeros(2, 9000, dtype=torch.bool)
    mask[1, 6000:] = True
    outputs = encoder.encode_layers(source, mask)
    assert len(outputs) == encoder.num_layers
    for layer, output in enumerate(outputs, 1):
        assert torch.equal(output, encoder.encode(source, mask, layer)[0])
