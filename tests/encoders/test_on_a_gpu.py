"""How an encoder computes on a GPU, as far as a CPU can tell."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from measuring.tensor_memory import TensorMemory
from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.encoders import Mode, positions
from spin_fairseq.encoders.mode import AS_USUAL, FRAMES_ON_A_GPU
from tests.fake_cuda import fake_cuda
from tests.small_hubert import LARGE_FORM, NO_DROPOUT
from tests.small_wavlm import small_wavlm

AS_ON_A_GPU = Mode(packed=False, block=FRAMES_ON_A_GPU, together=True)


@pytest.fixture
def encoder(make_hubert):
    return load_encoder(make_hubert(**NO_DROPOUT))


@pytest.fixture
def gpu_kernels(monkeypatch):
    """gpu_kernels(function): what it returns with the operations that are chosen for a GPU, computed on the CPU."""

    def run(function):
        with monkeypatch.context() as patched:
            patched.setattr(torch.Tensor, "is_cuda", property(lambda _: True))
            return function()

    return run


PADDED = torch.arange(9000) >= torch.tensor([9000, 5017, 719])[:, None]
FORMS = {"base": {}, "large": {**LARGE_FORM, "normalize": True}, "odd": {"conv_bias": True, "conv_pos": 15}}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["hubert", "wavlm"])
@pytest.mark.parametrize("mask", [None, PADDED], ids=["whole", "padded"])
@pytest.mark.parametrize("chunk", [2000, 9])
def test_what_is_chosen_for_a_gpu_equals_the_rest(kind, form, mask, chunk, make_hubert, gpu_kernels, monkeypatch):
    """Padding in the keys, the positional convolution by FFT, the first norm in the weight: values and gradients."""
    monkeypatch.setattr(positions, "FRAMES_OF_A_SPECTRUM", chunk)
    form = {**FORMS[form], **NO_DROPOUT}
    encoder = small_wavlm(**form) if kind == "wavlm" else load_encoder(make_hubert(**form))
    encoder.double()  # which no half-precision rule applies to
    source = torch.randn(3, 9000, generator=torch.Generator().manual_seed(0)).double()
    source = source if mask is None else source.masked_fill(mask, 0.0)
    weight = torch.randn(3, encoder.output_lengths(9000), encoder.width, dtype=torch.double)

    def features_and_gradients():
        encoder.zero_grad()
        features, frame_mask = encoder.encode(source, mask, mode=AS_ON_A_GPU)
        features = features if mask is None else features.masked_fill(frame_mask[..., None], 0.0)
        (features * weight).sum().backward()
        return features, [each.grad for each in encoder.parameters() if each.grad is not None]

    expected, gradients = features_and_gradients()
    found, own = gpu_kernels(features_and_gradients)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert len(own) == len(gradients) > 10
    for one, other in zip(own, gradients):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-9 + 1e-4 * float(other.abs().max()))


@torch.no_grad()
def test_the_spectrum_of_a_weight_does_not_grow_with_the_row():
    """Of an hour it would be tens of gigabytes at Base size."""
    x, weight = torch.randn(1, 20000, 64), torch.randn(64, 16, 32)
    with TensorMemory() as memory:
        positions.correlate_by_spectrum(x, weight, 4, 16)
    assert memory.peak < 12 * x.nbytes  # in one piece 37 times


@pytest.mark.parametrize("mask", [None, PADDED], ids=["whole", "padded"])
@torch.no_grad()
def test_half_precision_convolutions_on_a_gpu(mask, encoder, gpu_kernels):
    """Guards against taps, strides or frames that get mixed up when frames lie behind each other in memory."""
    source = torch.randn(3, 9000, generator=torch.Generator().manual_seed(0))
    source = source if mask is None else source.masked_fill(mask, 0.0)
    expected, frame_mask = encoder.extract_features(source, mask, ret_conv=True, mode=AS_ON_A_GPU)
    found = gpu_kernels(
        lambda: encoder.bfloat16().extract_features(source.bfloat16(), mask, ret_conv=True, mode=AS_ON_A_GPU)[0]
    )
    valid = torch.ones(expected.shape[:2], dtype=torch.bool) if frame_mask is None else ~frame_mask
    error = (found[valid].float() - expected[valid]).norm() / expected[valid].norm()
    assert found.dtype == torch.bfloat16 and error < 0.03


def masks_of_attention(monkeypatch, encoder, *batch):
    seen = []

    def attention(*args, attn_mask=None, **options):
        seen.append(attn_mask)
        return original(*args, attn_mask=attn_mask, **options)

    original = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", attention)
    encoder.encode(*batch, mode=AS_ON_A_GPU)
    return seen


def test_attention_has_no_mask_where_nothing_is_padded(encoder, monkeypatch):
    """With a mask, if only of zeros, torch never takes flash attention."""
    source = torch.randn(2, 8000)
    assert masks_of_attention(monkeypatch, encoder, source) == [None] * 3
    padding = torch.arange(8000) >= torch.tensor([8000, 4000])[:, None]
    assert all(mask is not None for mask in masks_of_attention(monkeypatch, encoder, source, padding))


def test_attention_has_no_mask_on_a_gpu(encoder, monkeypatch, gpu_kernels):
    """Padding is a component of the keys there."""
    padding = torch.arange(8000) >= torch.tensor([8000, 4000])[:, None]
    assert gpu_kernels(lambda: masks_of_attention(monkeypatch, encoder, torch.randn(2, 8000), padding)) == [None] * 3


def test_choices_by_device():
    """Blocks of 500 frames, and rows one by one, are for CPUs: a GPU waited for each to be launched."""
    cpu, cuda = (AS_USUAL.on(torch.device(name), 100) for name in ("cpu", "cuda"))
    assert (cpu.packed, cpu.block, cpu.together) == (True, 500, False)
    assert (cuda.packed, cuda.block, cuda.together) == (False, FRAMES_ON_A_GPU, True)
    assert not AS_USUAL.on(torch.device("cuda"), 1 << 30).together
    assert Mode(block=None).on(torch.device("cuda"), 100).block is None


class Float32OfWidth(TorchDispatchMode):
    """Largest float32 tensor that is made, in elements."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else (result,):
            if torch.is_tensor(each) and each.dtype in (torch.float32, torch.float64):
                self.largest = max(self.largest, each.numel())
        return result


@pytest.mark.parametrize("precision", ["bfloat16", "autocast"])
def test_the_first_convolution_makes_no_float32_tensor(encoder, precision):
    """Its norm took all of the convolution's output to float32, the largest tensor of a step."""
    source = torch.randn(2, 16000)
    padding = torch.arange(16000) >= torch.tensor([16000, 9000])[:, None]
    for module in encoder.parameters():
        module.requires_grad_(False)
    if precision == "bfloat16":
        encoder, source = encoder.to(torch.bfloat16), source.to(torch.bfloat16)
    for mask in (padding, None):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "autocast"), Float32OfWidth() as seen:
            encoder.extract_features(source, mask, ret_conv=True, mode=AS_ON_A_GPU)
        first = 2 * 3199 * 32  # rows, frames and channels behind the first convolution
        assert seen.largest <= first / 2


def test_the_folded_norm_saves_memory(encoder):
    """The convolution's output, its float32 copy, the normed copy and the activation stood beside each other."""
    source = torch.randn(2, 32000)
    convolution = 2 * 6399 * 32 * 4
    with torch.no_grad(), TensorMemory() as memory:
        encoder.feature_extractor(source.clone(), encoder.statistics(source))
    assert memory.peak < 3.2 * convolution


@pytest.mark.parametrize("form", [{}, {**LARGE_FORM, "normalize": True}], ids=["base", "large"])
@pytest.mark.parametrize("kind", ["hubert", "wavlm"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_nothing_waits_for_a_gpu(kind, form, padded, dtype, make_hubert):
    """The whole forward pass on a CUDA device that is not there: no mix of devices, no value asked for."""
    encoder = small_wavlm(**form) if kind == "wavlm" else load_encoder(make_hubert(**form))
    with torch.no_grad(), fake_cuda():
        shapes = {name: value.shape for name, value in encoder.state_dict().items()}
        weights = {name: torch.zeros(shape, dtype=dtype, device="cuda") for name, shape in shapes.items()}
        source = torch.zeros(2, 8000, device="cuda", dtype=dtype)
        mask = torch.zeros(2, 8000, dtype=torch.bool, device="cuda") if padded else None
        encoded = torch.func.functional_call(encoder.train(), weights, (source, mask, AS_ON_A_GPU))
        assert encoded.features.device.type == "cuda" and encoded.features.shape == (2, 24, 64)
        assert encoded.features.dtype == dtype
