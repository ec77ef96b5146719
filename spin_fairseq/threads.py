"""How many threads a command computes with: one for each CPU that is free. Threads that wait sleep instead of spinning.

Thread pools read their settings when their library is loaded, so `settle` comes before torch and numpy. Of two busy CPUs,
two threads that spin while they wait for each other take all that a third process needs, and the reverse.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

WATCHED = 0.2  # seconds over which CPUs are looked at
BUSY = 0.5  # fraction of that time; a CPU that is busy for more of it is taken
# Waiting threads sleep: GNU's and LLVM's OpenMP (torch, scikit-learn), and OpenBLAS (numpy, scipy), whose value is the
# binary logarithm of the clock cycles for which it spins, at least 4.
SLEEPING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}
COUNT = "OMP_NUM_THREADS"

_line = ""  # what `settle` has said, where this process chose the number and not its user


def settle() -> str:
    """Set the environment of the thread pools of this process and of those that it starts; what is set already wins.

    -> one line that says how many threads there are, and why. Called again, it changes nothing.
    """
    global _line
    for name, value in SLEEPING.items():
        os.environ.setdefault(name, value)
    if chosen_by_user():
        return described(os.environ[COUNT], COUNT)
    if not _line:
        free = free_cpus()
        os.environ[COUNT] = str(free)
        _line = described(free, f"{free} of {usable_cpus()} CPUs free; {COUNT} sets another number")
        if "torch" in sys.modules:  # it has read its environment before
            sys.modules["torch"].set_num_threads(free)
    return _line


def described(count: int | str, reason: str) -> str:
    """ "2 threads (reason)"."""
    return f"{count} thread{'' if str(count) == '1' else 's'} ({reason})"


def chosen_by_user() -> bool:
    """Whether OMP_NUM_THREADS was set, and not by `settle`."""
    return bool(os.environ.get(COUNT)) and not _line


def usable_cpus() -> int:
    """CPUs that this process may run on: its affinity, which batch systems set, and the quota of its container."""
    count = len(_affinity()) or os.cpu_count() or 1
    return max(1, min(count, _quota()))


def free_cpus() -> int:
    """How many of the usable CPUs nobody else uses now, at least 1. It takes WATCHED seconds.

    Where the system does not tell how busy each CPU is, the load average of the last minute counts.
    """
    usable, mine = usable_cpus(), _affinity()
    before = _busy_and_all()
    if mine and before:
        time.sleep(WATCHED)
        after = _busy_and_all()
        busy = [_fraction(before[cpu], after[cpu]) for cpu in mine if cpu in before and cpu in after]
        free = sum(fraction < BUSY for fraction in busy)
        taken = round(sum(busy))  # processes that move from CPU to CPU leave none of them busy for long
        free = min(free, len(busy) - taken) if busy else usable
    else:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        free = round((os.cpu_count() or 1) - load)
    return max(1, min(usable, free))


def _affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _quota() -> float:
    """CPUs by the container's quota (control groups, version 2 or 1), at least 1; infinity where there is none."""
    for quota_file, period_file in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            words = Path(quota_file).read_text().split()
            quota = int(words[0])
            period = int(Path(period_file).read_text()) if period_file else int(words[1])
        except (OSError, ValueError, IndexError):  # not there, or "max"
            continue
        if quota > 0 and period > 0:
            return max(1, quota // period)
    return float("inf")


def _busy_and_all() -> dict[int, tuple[int, int]]:
    """Of each CPU, ticks in which it worked, and all. {} where the system does not tell."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return {}
    found = {}
    for name, *ticks in (line.split() for line in lines if line.startswith("cpu")):
        if name != "cpu" and len(ticks) > 4:
            ticks = [int(tick) for tick in ticks[:8]]  # guests are counted in what comes before
            found[int(name[3:])] = (sum(ticks) - ticks[3] - ticks[4], sum(ticks))  # not idle, nor waiting for a disk
    return found


def _fraction(before: tuple[int, int], after: tuple[int, int]) -> float:
    passed = after[1] - before[1]
    return (after[0] - before[0]) / passed if passed > 0 else 0.0
