"""A CUDA device that is not there: tensors have shapes and a device, and no data.

Inside `fake_cuda()` code for CUDA runs on any machine, and raises where it mixes devices, waits for the device (`.item()`,
`bool(tensor)`) or makes a shape depend on data.
"""

import contextlib

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode


class _ThroughOperators(TorchFunctionMode):
    """The few methods whose Python side asks for a real CUDA device, in terms of operators, which do not."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return _OPERATORS.get(function, function)(*args, **(kwargs or {}))


def _index(tensor, index):
    index = index if isinstance(index, tuple) else (index,)
    if any(item is Ellipsis for item in index):
        place = next(i for i, item in enumerate(index) if item is Ellipsis)
        missing = tensor.dim() - sum(item is not None for item in index) + 1
        index = index[:place] + (slice(None),) * missing + index[place + 1 :]
    dim = 0
    for item in index:
        if isinstance(item, int):
            tensor = torch.ops.aten.select.int(tensor, dim, item)
            continue
        if item is None:
            tensor = tensor.unsqueeze(dim)
        elif isinstance(item, slice):
            start, stop, step = item.indices(tensor.size(dim))
            tensor = torch.ops.aten.slice.Tensor(tensor, dim, start, max(start, stop), step)
        else:
            tensor = torch.ops.aten.index.Tensor(tensor, [None] * dim + [item])
        dim += 1
    return tensor


def _conv1d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    stride, padding, dilation = (each if isinstance(each, int) else each[0] for each in (stride, padding, dilation))
    x = torch.conv2d(x.unsqueeze(2), weight.unsqueeze(2), bias, (1, stride), (0, padding), (1, dilation), groups)
    return x.squeeze(2)


_OPERATORS = {
    torch.conv1d: _conv1d,
    torch.Tensor.__getitem__: _index,
    torch.Tensor.__invert__: torch.bitwise_not,
    torch.Tensor.contiguous: torch.clone,
}


@contextlib.contextmanager
def fake_cuda():
    """Skips the test where torch insists on a driver for `device="cuda"`, as its older versions do."""
    with FakeTensorMode(allow_non_fake_inputs=True), _ThroughOperators():
        try:
            torch.zeros(1, device="cuda")
        except RuntimeError:
            pytest.skip("this torch makes no fake CUDA tensors without a driver")
        yield
