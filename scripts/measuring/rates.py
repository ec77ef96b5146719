"""How fast a device computes and copies, and how long a function takes there."""

import statistics
import time
from unittest import mock

import torch


def wait_for(device):
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def seconds_each(function, device, times):
    """-> median seconds of a call, over `times` calls after one that does not count; each is waited for."""
    found = []
    for turn in range(times + 1):
        wait_for(device)
        start = time.perf_counter()
        function()
        wait_for(device)
        if turn:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def peak_bytes(function, device):
    """-> most memory that the device held while the function ran, in bytes; None on a CPU."""
    if torch.device(device).type != "cuda":
        function()
        return None
    torch.cuda.reset_peak_memory_stats()
    with mock.patch.object(torch.cuda, "reset_peak_memory_stats"):  # which fairseq's trainer calls in each update
        function()
    wait_for(device)
    return torch.cuda.max_memory_allocated()


def products_a_second(device, dtype, size):
    """-> floating-point operations a second of a product of two square matrices."""
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / seconds_each(lambda: one @ other, device, 5)


def bytes_a_second(device, megabytes):
    """-> bytes read and written a second by a copy."""
    source = torch.empty(megabytes << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds_each(lambda: target.copy_(source), device, 5)
