"""--launcher: all shards of a verb, on this machine or as jobs of Slurm, and what they make joined."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from spin_fairseq.errors import ConfigError, ShardError
from spin_fairseq.threads import usable_cpus

from .sharding import merge

JOBS, MINUTES = 8, 1440  # of Slurm, unless --shards and --slurm time say otherwise
LAUNCHING = ("--launcher", "--shards", "--slurm")
SIGNALS = ("SIGUSR1", "SIGUSR2")  # by which Slurm tells that a job's time is over


def launch(verb: str, module: ModuleType, args: Namespace) -> int | None:
    """Run all shards, and join them -> exit status. Raises ShardError: some failed; they are run again by the same command."""
    from spin_fairseq.shards import Shard, ShardFolder

    module.work(args).inputs()  # what is wrong with the command is told once, before the work
    folder = ShardFolder(args.out)
    count = args.shards or (usable_cpus() if args.launcher == "local" else JOBS)
    shards = [Shard(number + 1, count) for number in range(count)]
    words = without_options(args.words, LAUNCHING)
    if args.launcher == "local" and hasattr(args, "workers") and not given(words, "--workers"):
        words += ["--workers", "1"]
    commands = [[sys.executable, "-m", "spin_fairseq", verb, *words, "--shard", str(shard)] for shard in shards]
    statuses = (_local if args.launcher == "local" else _submitit)(verb, commands, shards, args, folder)
    failed = [shard for shard, status in zip(shards, statuses) if status not in (0, 3)]
    if failed:
        numbers = ", ".join(str(shard.number) for shard in failed)
        raise ShardError(
            f"{folder.path}: of {count} shards, {len(failed)} failed: {numbers}; what they said is in {folder.path / 'logs'}. "
            "The same command runs them again, and keeps the others"
        )
    return merge(args.out, keep=False, overwrite=args.overwrite, say=args.say)


def without_options(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Words of a command line without these options, each of which has one value."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif word.partition("=")[0] not in options:
            kept.append(word)
    return kept


def given(words: Sequence[str], option: str) -> bool:
    return any(word.partition("=")[0] == option for word in words)


def _local(verb, commands, shards, args, folder):
    """As many at a time as CPUs may be used, each on one thread."""
    logs = folder.path / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    at_once = min(len(commands), max(1, usable_cpus() // (args.workers if given(args.words, "--workers") else 1)))
    args.say(f"{len(commands)} shards, {at_once} at a time; what they say is in {logs}")

    def status(command, shard):
        with open(logs / f"{shard.name}.log", "wb") as log:
            return subprocess.call(command, env=environment, stdout=log, stderr=subprocess.STDOUT)

    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(status, *each) for each in zip(commands, shards)]
        try:
            return [each.result() for each in running]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _submitit(verb, commands, shards, args, folder):
    """As an array of jobs of Slurm; where there is no Slurm, submitit starts them on this machine, all at once."""
    try:
        import submitit
    except ImportError:
        raise ConfigError('--launcher submitit needs submitit: pip install "spin_fairseq[slurm]"') from None
    executor = submitit.AutoExecutor(folder=folder.path / "logs")
    cpus = args.workers if given(args.words, "--workers") else getattr(args, "threads", 0) + 1
    settings = {"name": f"spin-{verb}", "timeout_min": MINUTES, "cpus_per_task": cpus}
    try:
        executor.update_parameters(**settings, **{f"slurm_{key}": value for key, value in args.slurm or []})
    except (NameError, TypeError) as error:
        raise ConfigError(f"--slurm: {' '.join(str(error).split())}; mend it") from error
    with executor.batch():
        jobs = [executor.submit(ShardJob(command)) for command in commands]
    where = "Slurm" if executor.cluster == "slurm" else "this machine, as there is no Slurm"
    args.say(f"{len(jobs)} shards as jobs {jobs[0].job_id} ... of {where}; what they say is in {folder.path / 'logs'}")
    try:
        return [_status(job) for job in jobs]
    except KeyboardInterrupt:
        for job in jobs:
            job.cancel()
        raise


def _status(job) -> int:
    """Of a job, once it has ended; one that did not come to its end has failed."""
    import submitit

    try:
        return job.result()
    except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError):
        return 1


class ShardJob:
    """What a job runs: the command of a shard. When its time is over or it is preempted, it is queued again and resumes."""

    def __init__(self, command: list[str]):
        self.command = command

    def __call__(self) -> int:
        return subprocess.call(self.command, preexec_fn=_leave_signals_to_the_job)

    def checkpoint(self) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def _leave_signals_to_the_job() -> None:
    for name in SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
