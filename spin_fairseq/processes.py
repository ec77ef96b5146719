"""Work on millions of tasks in several processes, a few at a time."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import connection, parent_process
from collections.abc import Callable, Iterable, Iterator, Sized

from .errors import AudioError
from .progress import ProgressBar

TASKS_AHEAD = 4  # that are handed out for each worker


def in_processes(function: Callable, tasks: Iterable, workers: int, *, description: str = "") -> Iterator:
    """map(function, tasks) in order, each process on one thread. With one worker: in this process.

    Tasks are taken as they are needed. Ctrl-C reaches this process alone, which ends the others; when it is killed, they
    end by themselves.

    description: what a progress bar over the tasks is called; empty: no bar.
    Raises AudioError: a process died.
    """
    results = _results(function, tasks, workers, description)
    if not description:
        return results
    total = len(tasks) if isinstance(tasks, Sized) else None
    return _with_bar(results, total, description)


def _with_bar(results: Iterator, total: int | None, description: str) -> Iterator:
    with closing(results):
        first = next(results, _NOTHING)  # the processes start before the bar
        with ProgressBar(total=total, desc=description, unit="file") as bar:
            while first is not _NOTHING:
                bar.update()
                yield first
                first = next(results, _NOTHING)


_NOTHING = object()


def _results(function: Callable, tasks: Iterable, workers: int, description: str) -> Iterator:
    if workers <= 1 or (isinstance(tasks, Sized) and len(tasks) < 2):
        threads = _set_threads(1)  # more would only wait for each other, on arrays as small as these
        try:
            yield from map(function, tasks)
        finally:
            _set_threads(threads)
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
            where = f"{description}: " if description else ""
            raise AudioError(
                f"{where}a worker process died (out of memory, or a decoder crashed); --workers 1 shows at which file"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _set_threads(count: int | None) -> int | None:
    """-> how many threads torch had; None where torch is not loaded, and then nothing is set."""
    torch = sys.modules.get("torch")
    if torch is None or count is None:
        return None
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    return before


def _settle_in() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    os.environ["OMP_NUM_THREADS"] = "1"  # for a torch that is loaded later
    _set_threads(1)  # a fork must not use the threads that its parent had
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()


def _leave_with_the_parent() -> None:
    """A killed parent cannot tell its workers, who would wait for tasks forever."""
    connection.wait([parent_process().sentinel])
    os._exit(1)
