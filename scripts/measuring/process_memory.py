"""Memory of processes, as Linux tells it under /proc. All in bytes."""

import os
import re
from pathlib import Path


def status(key):
    """A line of /proc/self/status: bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key + ":"))


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


def rollup(process, *keys):
    """Sum of lines of /proc/PID/smaps_rollup in bytes; 0 of a process that has ended."""
    try:
        with open(f"/proc/{process}/smaps_rollup") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.split(":")[0] in keys)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def own_bytes(process):
    """What a process shares with no other; without batches on their way, which lie in shared memory."""
    total, counted = 0, True
    with open(f"/proc/{process}/smaps") as file:
        for line in file:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                counted = "/dev/shm/" not in line
            elif counted and line.startswith("Private_"):
                total += int(line.split()[1]) * 1024
    return total


def family(process):
    """A process and all that descend from it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                pass
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found
