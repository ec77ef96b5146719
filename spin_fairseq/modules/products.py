"""Products of matrices on a CPU, by the faster of torch's two libraries.

torch gives float32 products to MKL, which takes its AVX2 kernels on processors that are not Intel's. Its other library,
oneDNN, goes by what the processor can do: with AVX-512 on an AMD processor it is more than twice as fast. It also
applies a GELU to the product while that is in the cache. Where this does not hold, and in exports, under autocast and in
other precisions, everything here is torch.nn.functional.linear.
"""

import functools
import platform
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

Tensor = torch.Tensor


HALF = (torch.bfloat16, torch.float16)
FEWEST = 1 << 12  # numbers of a weight. Not of x: a row's result must not depend on how many rows there are


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """As F.linear, with a GELU behind it if asked for; x may have rows that overlap in memory. Gradients flow.

    Where the weight has half precision and x does not, x is rounded to it; the result has the precision of x.
    """
    if weight.dtype in HALF and x.dtype not in HALF and not _autocast(x):
        return linear(as_weight(x, weight), weight, bias, gelu).to(x.dtype)
    if not takes_onednn(x, weight):
        x = F.linear(x, weight, bias)
        return F.gelu(x) if gelu else x
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        x = _Linear.apply(x, weight, bias)
        return F.gelu(x) if gelu else x
    return onednn_linear(x, weight, bias, gelu)


def takes_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether `linear` of these goes to oneDNN."""
    return (
        not torch.jit.is_tracing()
        and type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and not torch.is_grad_enabled()))
        and weight.numel() >= FEWEST
        and x.numel() > 0
        and not _autocast(x)
        and onednn_is_faster()
    )


def overlapping_rows_pay(weight: Tensor) -> bool:
    """Whether `linear` with this weight is as fast where the rows of x overlap in memory; MKL's products are not."""
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and onednn_is_faster()


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """`linear` of float32 or bfloat16 on a CPU by oneDNN, without a graph."""
    # oneDNN would take its reference kernel, a thousand times slower
    if not (weight.is_contiguous() or weight.t().is_contiguous()):
        weight = weight.contiguous()
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu" if gelu else "none", [], "none")


@functools.cache
def onednn_is_faster() -> bool:
    """Whether MKL is held back on this processor, and this torch's oneDNN computes right."""
    if not torch.backends.mkl.is_available() or not torch.backends.mkldnn.is_available():
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or "Intel" in _vendor():
        return False
    x, weight, bias = torch.linspace(-1, 1, 96), torch.linspace(1, -1, 128).view(8, 16).t(), torch.linspace(0, 1, 16)
    windows = x.as_strided((40, 8), (2, 1))
    try:
        found = onednn_linear(windows, weight, bias, gelu=True)
    except (AttributeError, RuntimeError):  # a torch that has no such operator, or another form of it
        return False
    return torch.allclose(found, F.gelu(F.linear(windows, weight, bias)), atol=1e-5)


def as_weight(x: Tensor, weight: Tensor) -> Tensor:
    """x in the precision of a weight that has half precision; else as it is."""
    return x.to(weight.dtype) if weight.dtype in HALF else x


def _autocast(x: Tensor) -> bool:
    try:
        return torch.is_autocast_enabled(x.device.type)
    except TypeError:  # torch before 2.4
        return torch.is_autocast_cpu_enabled() if x.device.type == "cpu" else torch.is_autocast_enabled()


def _vendor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("vendor_id")), "")


class _Linear(torch.autograd.Function):
    """`onednn_linear` with its gradients."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return onednn_linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        flat = grad.reshape(-1, grad.size(-1))
        return (
            onednn_linear(grad, weight.t()) if of_x else None,
            onednn_linear(flat.t(), x.reshape(-1, x.size(-1)).t()) if of_weight else None,
            flat.sum(0) if of_bias else None,
        )


class Linear(nn.Linear):
    """nn.Linear by `linear`."""

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        return linear(x, self.weight, self.bias, gelu)
