"""Memory-mapped files that release the pages already read, so that a file is never in memory as a whole.

Pages that a process has read from a mapped file stay resident, in addition to what it computes from them. On Linux they
can be dropped: an unmodified private map is read from the file again when it is accessed. Elsewhere nothing is dropped.
"""

import bisect
import ctypes
import mmap
import os
import sys
from pathlib import Path
from collections.abc import Iterable
import torch


def maps_of(path: str | Path, tensors: Iterable[torch.Tensor]) -> list[tuple[int, int]]:
    """-> [(begin, end)], addresses of the private maps of a file, or of the files of a folder, that hold these tensors."""
    # Safetensors are little-endian, and may be converted in place
    if sys.platform != "linux" or sys.byteorder != "little":
        return []
    files = [entry.path for entry in os.scandir(path)] if os.path.isdir(path) else [path]
    files = {os.path.realpath(file) for file in files}
    addresses = sorted(tensor.data_ptr() for tensor in tensors)
    found = []
    with open("/proc/self/maps", errors="surrogateescape") as lines:
        for line in lines:  # begin-end, permissions, offset, device, inode, path
            fields = line.rstrip("\n").split(maxsplit=5)
            if len(fields) < 6 or fields[1][3] != "p" or fields[4] == "0" or fields[5] not in files:
                continue
            begin, end = (int(address, 16) for address in fields[0].split("-"))
            after = bisect.bisect_left(addresses, begin)
            if after < len(addresses) and addresses[after] < end:
                found.append((begin, end))
    return found


def give_back(maps: list[tuple[int, int]]) -> None:
    """Drop the pages of these maps; only what was written to them is lost."""
    if not maps:
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for begin, end in maps:
        madvise(begin, end - begin, mmap.MADV_DONTNEED)  # only advice: if it is rejected, memory use stays as it was
