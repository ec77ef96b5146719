import os
import signal
import subprocess
import sys
import time

import pytest

from spin_fairseq.errors import AudioError
from spin_fairseq.processes import in_processes


def square(number):
    return number * number


def die(number):
    os._exit(1)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("description", ["", "squares"])
def test_results_come_in_order(workers, description, capsys):
    assert list(in_processes(square, range(50), workers, description=description)) == [n * n for n in range(50)]
    assert "50/50" not in capsys.readouterr().err  # it is no terminal


def test_tasks_are_taken_as_they_are_needed():
    taken = []

    def tasks():
        for n in range(10**9):
            taken.append(n)
            yield n

    results = in_processes(square, tasks(), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 4] and len(taken) < 30
    results.close()


def test_a_dead_worker_is_told():
    with pytest.raises(AudioError, match="broken: a worker process died .*--workers 1"):
        list(in_processes(die, range(4), 2, description="broken"))


SLOW = """
import sys, time
from spin_fairseq.processes import in_processes
def slow(n):
    open(f"{sys.argv[1]}/{__import__('os').getpid()}", "w").close()
    time.sleep(60)
list(in_processes(slow, range(8), 2, description="slow"))
"""


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, stop):
    """Workers of a killed preparation went on waiting for tasks, for ever."""
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(os.listdir(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = [int(name) for name in os.listdir(tmp_path)]
    assert len(workers) == 2
    process.send_signal(stop)
    if stop == signal.SIGINT:
        for worker in workers:  # a terminal sends it to all; the workers leave it to the parent
            os.kill(worker, signal.SIGINT)
        time.sleep(0.5)
        process.kill()
    process.wait()
    while any(is_running(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(is_running(worker) for worker in workers)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
