"""A training run in a process of its own, which may be started, disturbed, and started again."""

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.checkpoints.files import read_file
from spin_fairseq.errors import CheckpointError

REPOSITORY = Path(__file__).resolve().parents[2]
SAVE_INTERVAL = 2  # updates


class Failure(Exception):
    """A run did not bear what was done to it."""


def check(holds, what):
    if not holds:
        raise Failure(what)


class Run:
    """One training run in its folder, started as often as need be; each start has a log of its own."""

    def __init__(self, folder, options, *overrides, data=None):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.options, self.starts = folder, options, 0
        self.checkpoints = folder / "checkpoints"
        updates, layers = options.updates, load_encoder(options.base).num_layers
        self.command = [
            Path(sys.executable).with_name("fairseq-hydra-train"),
            "--config-dir", REPOSITORY / "config", "--config-name", "spin_hubert_base",
            f"hydra.run.dir={folder}", f"common.user_dir={REPOSITORY / 'spin_fairseq'}",
            f"task.data={data or options.out / 'data'}", "task.min_sample_size=800", "task.max_sample_size=24000",
            f"model.checkpoint={options.base}", f"model.freeze=[cnn,pos,1..{layers - 1}]",
            "model.head_dims=[16]", "model.codebook_sizes=[20]",
            "common.fp16=false", "common.cpu=true", "common.log_interval=1", "dataset.num_workers=1",
            "dataset.batch_size=4", "dataset.data_buffer_size=1",
            f"checkpoint.save_interval_updates={SAVE_INTERVAL}", f"checkpoint.save_dir={self.checkpoints}",
            f"optimization.max_update={updates}", "optimization.lr=[0.001]",
            "lr_scheduler.warmup_updates=2", f"lr_scheduler.total_num_update={updates}",
            *overrides,
        ]  # fmt: skip

    def start(self, **environment):
        self.starts += 1
        self.begin = time.time()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        with open(self.log_file, "w") as log:
            return subprocess.Popen(
                list(map(str, self.command)), cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def log_file(self):
        return self.folder / f"log.{self.starts}"

    @property
    def log(self):
        """Of the latest start."""
        return self.log_file.read_text(errors="replace")

    def finish(self, process):
        """-> the return code. A run that never ends is a failure."""
        try:
            return process.wait(self.options.patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failure(f"hangs; see {self.log_file}") from None

    def complete(self, **environment):
        """Start once more, and run to the end."""
        check(self.finish(self.start(**environment)) == 0, f"the run failed; see {self.log_file}")

    def wait_for(self, process, happened, every=0.02):
        """Until happened() is true -> True; or until the run ends, or all patience has -> False."""
        end = time.monotonic() + self.options.patience
        while not happened():
            if process.poll() is not None or time.monotonic() > end:
                return False
            time.sleep(every)
        return True

    def logged(self, words):
        return lambda: words in self.log

    def in_training(self):
        return "Start iterating over samples" in self.log

    def saved(self):
        """-> updates in checkpoint_last.pt, 0 without one. Every checkpoint must be readable."""
        updates = 0
        for path in sorted(self.checkpoints.glob("*.pt")):
            try:
                state = read_file(path)
            except CheckpointError as error:
                raise Failure(str(error)) from error
            if path.name == "checkpoint_last.pt":
                updates = state["optimizer_history"][-1]["num_updates"]
        return updates

    def is_saving(self):
        """There is a half-written file of this start; one that a kill has left does not count."""
        for path in self.checkpoints.glob("*.tmp"):
            with suppress(FileNotFoundError):  # it has just got its name
                if path.stat().st_mtime >= self.begin:
                    return True
        return False

    def made(self):
        """Updates that the latest start has reported."""
        return max(map(int, re.findall(r"num_updates=(\d+)", self.log)), default=0)

    def resumed_at(self):
        found = re.search(r"Loaded checkpoint .* @ (\d+) updates\)", self.log)
        return int(found.group(1)) if found else 0

    def weights(self):
        return read_file(self.checkpoints / "checkpoint_last.pt")["model"]

    def compare(self, reference):
        ours, theirs = self.weights(), reference.weights()
        check(ours.keys() == theirs.keys(), "other weights than the undisturbed run's")
        different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
        check(not different, f"{len(different)} tensors differ from the undisturbed run's, such as {different[:1]}")


def reference_run(options):
    """The run that nobody disturbs, and the seconds that its start and its training took."""
    run = Run(options.out / "reference", options)
    begin = time.monotonic()
    process = run.start()
    run.wait_for(process, run.in_training)
    middle = time.monotonic()
    check(run.finish(process) == 0, f"the undisturbed run failed; see {run.log_file}")
    run.seconds_of_start, run.seconds_of_training = middle - begin, time.monotonic() - middle
    return run
