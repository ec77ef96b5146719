"""What happens to runs on real machines. Each fault returns what the run did, or raises Failure."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile
import torch

from spin_fairseq.speech.audio import audio_info
from spin_fairseq.speech.manifest import load_manifest, write_manifest

from .runs import SAVE_INTERVAL, Run, check

DEV_UTTERANCES = 3
SECONDS_TO_OPEN = 0.4  # at most, of a file in a slow folder
SLOW = f"""import random, time
import soundfile
fast, clock = soundfile.SoundFile.__init__, random.Random()
def slow(self, *args, **kwargs):
    time.sleep(clock.uniform(0, {SECONDS_TO_OPEN}))
    fast(self, *args, **kwargs)
soundfile.SoundFile.__init__ = slow
"""


def data_workers(pid):
    """Processes that any thread of a process has forked: they have its command line."""
    command, found = Path(f"/proc/{pid}/cmdline"), []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [
                int(child)
                for child in children.read_text().split()
                if Path(f"/proc/{child}/cmdline").read_bytes() == command.read_bytes() != b""
            ]
        except OSError:  # one of them has ended
            pass
    return found


def slow_folder(options):
    """A folder for PYTHONPATH, with which every audio file takes its time to open."""
    folder = options.out / "slow_files"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SLOW)
    return str(folder)


def copy_audio(options, folder):
    """A few utterances, theirs to spoil, with manifests -> folder."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "audio").mkdir(parents=True)
    rows = []
    for source in options.utterances:
        target = folder / "audio" / f"{source.stem}{source.suffix}"
        shutil.copy(source, target)
        rows.append((target.name, audio_info(target)[0]))
    write_manifest(folder / "train.tsv", folder / "audio", rows[:-DEV_UTTERANCES])
    write_manifest(folder / "dev.tsv", folder / "audio", rows[-DEV_UTTERANCES:])
    return folder


# --- faults -----------------------------------------------------------------------------------------------------------


def wait_for_moment(run, process, moment, rng, reference):
    if moment == "in start-up":
        time.sleep(rng.uniform(0, reference.seconds_of_start))
        return
    run.wait_for(process, run.in_training)
    time.sleep(rng.uniform(0, reference.seconds_of_training / 2))
    if moment == "while saving":
        run.wait_for(process, run.is_saving, every=0.0002)
        time.sleep(rng.uniform(0, 0.01))


def kill(options, reference):
    rng = random.Random(options.seed)
    kills = {"in start-up": 0, "in training": 0, "while saving": 0}
    finished = most_lost = 0
    while sum(kills.values()) < options.kills:
        run, saved = Run(options.out / f"kill.{finished}", options), 0
        while sum(kills.values()) < options.kills:
            moment = rng.choices(list(kills), [1, 2, 2])[0]
            process = run.start()
            wait_for_moment(run, process, moment, rng, reference)
            process.kill()
            code = run.finish(process)
            if run.in_training():
                check(
                    run.resumed_at() == saved, f"went on at {run.resumed_at()} instead of {saved}; see {run.log_file}"
                )
            if code == 0:  # it had ended before
                break
            check(code == -signal.SIGKILL, f"the run failed; see {run.log_file}")
            kills["while saving" if run.is_saving() else "in training" if run.in_training() else "in start-up"] += 1
            saved = run.saved()
            most_lost = max(most_lost, run.made() - saved)
            check(most_lost <= SAVE_INTERVAL, f"{most_lost} updates are to be made again; see {run.log_file}")
        run.complete()
        run.compare(reference)
        finished += 1
    run.complete()  # a run that has made its updates makes no more
    run.compare(reference)
    return (
        f"{sum(kills.values())} kills: {', '.join(f'{number} {moment}' for moment, number in kills.items())}; "
        f"{finished} runs ended alike; at most {most_lost} updates were made again, saved every {SAVE_INTERVAL}"
    )


def worker(options, reference):
    run, killed = Run(options.out / "worker", options, "dataset.num_workers=2"), set()
    process = run.start(PYTHONPATH=slow_folder(options))  # so that the workers are at work
    run.wait_for(process, run.in_training)

    def kill_all():
        for pid in data_workers(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)

    run.wait_for(process, kill_all)  # until the run ends
    check(run.finish(process) != 0 and killed, f"{len(killed)} workers were killed, and it went on; see {run.log_file}")
    check("A data worker was killed, or could not go on" in run.log, f"no clear error; see {run.log_file}")
    run.saved()
    run.complete()
    run.compare(reference)
    return "stopped with a clear error; started again, it ended alike"


def files(options, reference):
    data = copy_audio(options, options.out / "files" / "data")
    run = Run(options.out / "files" / "run", options, "task.max_bad_share=0.9", data=data)
    manifest = load_manifest(data, "train")
    victims = [Path(manifest.path(index)) for index in range(5)]
    gone, cut, longer, shorter, text = victims
    process = run.start()
    check(run.wait_for(process, run.logged("end of epoch 1 ")), f"no epoch ended; see {run.log_file}")
    gone.unlink()
    os.truncate(cut, cut.stat().st_size // 2)
    for path, change in ((longer, lambda wave: np.tile(wave, 2)), (shorter, lambda wave: wave[: len(wave) // 2])):
        wave, rate = soundfile.read(path, dtype="float32")
        soundfile.write(path, change(wave), rate)
    text.write_text("no sound")
    check(run.finish(process) == 0, f"the run failed; see {run.log_file}")
    named = set(re.findall(r"skipped: (\S+?): ", run.log))
    check(named == set(map(str, victims)), f"skipped {sorted(named)} instead of {victims}; see {run.log_file}")
    check(all(torch.isfinite(value).all() for value in run.weights().values()), "weights are not finite")
    return f"vanished, cut off, longer, shorter, text: {len(named)} files skipped and named, the run ended"


def slow(options, reference):
    run = Run(options.out / "slow", options)
    run.complete(PYTHONPATH=slow_folder(options))
    run.compare(reference)
    return f"up to {SECONDS_TO_OPEN} s a file: ended alike"


def disk(options, reference):
    return "; ".join(
        fill(options, reference, name, block) for name, block in (("file limit", limit), ("full disk", full))
    )


def limit(run, process):
    """No file may be larger than half a checkpoint."""
    size = (run.checkpoints / "checkpoint_last.pt").stat().st_size // 2
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
    return lambda: None


def full(run, process):
    """Something else takes the disk until half a checkpoint is free."""
    ballast = run.checkpoints / "ballast"
    free = shutil.disk_usage(run.checkpoints).free - (run.checkpoints / "checkpoint_last.pt").stat().st_size // 2
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free))
    return ballast.unlink


def fill(options, reference, name, block):
    # The limit would hold for memory that data workers share, too.
    run = Run(options.out / f"disk.{block.__name__}", options, "dataset.num_workers=0")
    mounted = block is full and mount(run.checkpoints, megabytes=12 * os.path.getsize(options.base) // 10**6 + 20)
    if block is full and not mounted:
        return f"{name}: not tried, nothing may be mounted here"
    try:
        process = run.start()
        check(run.wait_for(process, lambda: (run.checkpoints / "checkpoint_last.pt").exists()), f"see {run.log_file}")
        release = block(run, process)
        code = run.finish(process)
        check(code not in (0, None), f"the run went on without saving; see {run.log_file}")
        check("cannot be written: " in run.log, f"no clear error; see {run.log_file}")
        saved = run.saved()
        check(saved > 0 and not run.is_saving(), f"a file was left behind, or nothing whole; see {run.checkpoints}")
        release()
        run.complete()
        run.compare(reference)
    finally:
        if mounted:
            shutil.copytree(run.checkpoints, f"{run.checkpoints}.kept", dirs_exist_ok=True)
            subprocess.run(["umount", run.checkpoints], check=True)
    return f"{name}: clear error, checkpoints whole, ended alike"


def mount(folder, megabytes):
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
    return shutil.which("mount") and subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def non_finite(options, reference):
    data = copy_audio(options, options.out / "non-finite" / "data")
    run = Run(options.out / "non-finite" / "run", options, data=data)
    manifest = load_manifest(data, "train")
    path = Path(manifest.path(3))
    sound = path.read_bytes()
    wave, rate = soundfile.read(path, dtype="float32")
    wave[:] = 1e38  # finite, as is everything that training checks
    path.unlink()
    soundfile.write(path, wave, rate, format="WAV", subtype="FLOAT")
    check(run.finish(run.start()) != 0, f"the run went on; see {run.log_file}")
    found = re.search(r"FloatingPointError: .*holds the utterances ([^\n]*?)\. ", run.log)
    check(found, f"no clear error; see {run.log_file}")
    named = found.group(1).split(", ")
    check(manifest.utterance_id(3) in named and len(named) <= 4, f"names {named}; see {run.log_file}")
    run.saved()
    path.write_bytes(sound)
    run.complete()
    run.compare(reference)
    return f"stopped before the update and named its {len(named)} utterances; with the file mended, it ended alike"


FAULTS = {"kill": kill, "worker": worker, "files": files, "slow": slow, "disk": disk, "non-finite": non_finite}
