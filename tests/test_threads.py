import os
import subprocess
import sys
from pathlib import Path

import pytest

from spin_fairseq import threads

REPOSITORY = Path(__file__).parents[1]
COMMAND = "import sys; sys.argv[0] = 'spin-fairseq'\n"  # fairseq, and with it torch, is not loaded before it is needed
PROGRAM = """
from spin_fairseq.threads import settle
print(settle())
import torch
print(torch.get_num_threads())
"""


def run(**environment):
    """What `settle` says in a process of its own, and how many threads torch has then."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
    environment = {**inherited, "PYTHONPATH": str(REPOSITORY), **environment}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMMAND + PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_the_user_wins():
    """Guards against a command that ignores OMP_NUM_THREADS."""
    assert run(OMP_NUM_THREADS="1") == ["1 thread (OMP_NUM_THREADS)", "1"]


def test_torch_has_the_threads_that_are_told():
    line, count = run()
    assert line.startswith(f"{count} thread") and 1 <= int(count) <= threads.usable_cpus()


@pytest.fixture
def alone():
    """This process on one CPU, which is given back."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinities")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield min(before)
    os.sched_setaffinity(0, before)


def test_only_cpus_that_may_be_used_count(alone):
    """Guards against 64 threads in a batch job that was given one CPU of 64."""
    assert threads.usable_cpus() == 1 == threads.free_cpus()


BUSY = {0: (0, 0), 1: (0, 0), 2: (0, 0), 3: (0, 0)}


@pytest.mark.parametrize(
    "busy, free",
    [((0, 0, 0, 0), 4), ((20, 0, 0, 20), 2), ((20, 20, 20, 20), 1), ((9, 9, 9, 0), 3), ((8, 8, 8, 8), 2)],
)
def test_busy_cpus_are_not_free(busy, free, monkeypatch):
    """Ticks of 20 in which each CPU worked. Guards against threads on CPUs that others keep busy, one by one or in turns."""
    looks = iter([BUSY, {cpu: (ticks, 20) for cpu, ticks in enumerate(busy)}])
    monkeypatch.setattr(threads, "_affinity", lambda: {0, 1, 2, 3})
    monkeypatch.setattr(threads, "_quota", lambda: float("inf"))
    monkeypatch.setattr(threads, "_busy_and_all", lambda: next(looks))
    assert threads.free_cpus() == free


def test_the_load_counts_where_cpus_are_not_told(monkeypatch):
    monkeypatch.setattr(threads, "_affinity", set)
    monkeypatch.setattr(threads, "_quota", lambda: float("inf"))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "getloadavg", lambda: (5.2, 0.0, 0.0))
    assert threads.free_cpus() == 3


WAITING = """
from spin_fairseq.threads import settle
settle()
import time, torch
a = torch.ones(4, 300_000)
a.sum(1)
(a @ a.T).sum()
begin = time.process_time()
for _ in range(20):
    a.sum(1)
    time.sleep(0.05)
print(time.process_time() - begin)
"""


def test_threads_that_wait_sleep():
    """Guards against pools that spin: a waiting thread would use up a CPU between the sums of this program."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMMAND + WAITING], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 0.1  # of a second that was waited; spinning takes 0.2 and more
