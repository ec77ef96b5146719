"""What a training step cannot do without: its matrix products, convolutions and attentions, timed alone.

A step is run once and each such call noted, with the shapes and memory layouts of its tensors. The same calls are then
repeated on random numbers, with nothing between them: no norms, activations, dropout, optimiser, and no graph.
"""

import math
from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

KINDS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward", "_linear_pointwise")
ATTENTION = "_scaled_dot_product"  # fused, forward and backward, under the name of each implementation


def _flop_of_linear(x_shape, weight_shape, *others, out_shape=None, **options):
    return 2 * math.prod(x_shape) * weight_shape[0]


_ONEDNN = (
    {torch.ops.mkldnn._linear_pointwise: _flop_of_linear} if hasattr(torch.ops.mkldnn, "_linear_pointwise") else {}
)


class _Noting(TorchDispatchMode):
    """Counts the calls that are products, by function and arguments, tensors as descriptions."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        if name in KINDS or name.startswith(ATTENTION):
            self.calls[function, _described(args), _described(tuple((kwargs or {}).items()))] += 1
        return function(*args, **(kwargs or {}))


class _Tensor(tuple):
    """(shape, strides, dtype, device) of a tensor."""


def _described(value):
    if isinstance(value, torch.Tensor):
        return _Tensor((tuple(value.shape), value.stride(), value.dtype, value.device))
    return tuple(map(_described, value)) if isinstance(value, (tuple, list)) else value


def _made(value):
    """The inverse of `_described`, with random numbers; integers, the state of a random generator, are zero."""
    if isinstance(value, _Tensor):
        shape, strides, dtype, device = value
        size = 1 + sum((length - 1) * stride for length, stride in zip(shape, strides)) if 0 not in shape else 0
        make = torch.randn if dtype.is_floating_point else torch.zeros
        return make(size, dtype=dtype, device=device).as_strided(shape, strides)
    return list(map(_made, value)) if isinstance(value, tuple) else value


class StepFloor:
    """The products of a step.

    flop: floating-point operations of one step, by torch's own count.
    number: how many products there are.
    """

    def __init__(self, step):
        """step: a function that does one training step; two are done."""
        with _Noting() as noted:
            step()
        # Not at once: it takes some calls apart
        with FlopCounterMode(display=False, custom_mapping=_ONEDNN) as counter:
            step()
        self.flop, self.number = counter.get_total_flops(), sum(noted.calls.values())
        self._calls = [
            (function, _made(args), dict(_made(kwargs)), times)
            for (function, args, kwargs), times in noted.calls.items()
        ]

    @torch.no_grad()
    def run(self):
        """All of them once."""
        for function, args, kwargs, times in self._calls:
            for _ in range(times):
                function(*args, **kwargs)


def product_seconds(step):
    """-> seconds that the products, convolutions and attentions of one step take themselves, on the CPU, as it is run.

    Only operators that this thread calls are seen.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        step()
    return 1e-6 * sum(event.self_cpu_time_total for event in profiler.key_averages() if _is_product(event.key))


def _is_product(operator):
    """operator: as a profiler names it; a convolution's time is with the implementation that was chosen."""
    name = operator.rpartition("::")[2]
    return name in KINDS or name.strip("_") in KINDS or "conv" in name or ATTENTION.strip("_") in name


def profile(step, rows=15):
    """-> a table of the operators in which one step spends most of its time, themselves alone."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        step()
    return profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=rows, max_name_column_width=48)
