"""Work on millions of tasks in several processes, a few at a time."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, parent_process
from typing import Callable, Iterable, Iterator

import torch
from tqdm import tqdm

from .errors import AudioError

TASKS_AHEAD = 4  # that are handed out for each worker


def in_processes(function: Callable, tasks: Iterable, workers: int) -> Iterator:
    """map(function, tasks) in order, each process on one thread. With one worker: in this process.

    Tasks are taken as they are needed. Raises AudioError if a process dies.
    """
    if workers <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # more would only wait for each other, on arrays as small as these
        try:
            yield from map(function, tasks)
        finally:
            torch.set_num_threads(threads)
        return
    with ProcessPoolExecutor(workers, initializer=_settle_in) as pool:
        pending = deque()
        try:
            for task in tasks:
                pending.append(pool.submit(function, task))
                if len(pending) >= TASKS_AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise AudioError(
                "a worker process died (out of memory, or a decoder crashed); --workers 1 shows at which file"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class ProgressBar(tqdm):
    """On stderr; without tqdm's watching thread, which would be alive when processes are forked."""

    monitor_interval = 0


def _settle_in() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    torch.set_num_threads(1)  # a fork must not use the threads that its parent had
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()


def _leave_with_the_parent() -> None:
    """A killed parent cannot tell its workers, who would wait for tasks forever."""
    connection.wait([parent_process().sentinel])
    os._exit(1)
