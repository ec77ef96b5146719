#!/usr/bin/env python3
"""What a corpus of millions of files costs before and during training: time, and memory of processes. On Linux.

    python scripts/benchmark_scale.py                                   # 10 thousand to 10 million rows, 8 data workers
    python scripts/benchmark_scale.py --rows 10000 1000000 --workers 2
    python scripts/benchmark_scale.py --rows --updates 2000             # memory during training, a few minutes

Each number of rows has a process of its own. The rows are those of a packed corpus: every one has another place, speaker
and name, and every one can be read; the archives are links to a single small one, so the disk is not measured. Columns:

    load       reading the manifest: seconds, and memory at the peak and afterwards, above what the process held before
    speakers   looking up all speakers, as with task.speaker_pitch
    batches    what fairseq does at the start of an epoch: order, batches of 256 s, shuffling; with the peak of memory
    marks      opening a file with pitch marks of every row (its index alone); seconds, then microseconds a lookup
    workers    memory that the data workers do not share with each other or the main process, all together, after each
               has delivered batches

--updates trains a small model with fairseq-hydra-train on two workers, for three epochs, and samples the memory of
the main process and of all processes (each page counted once, by its share: PSS) over ten stretches of updates, with a
validation at the end of each. The first validation takes larger batches than training, and so some more memory.
"""

import argparse
import multiprocessing
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from measuring.process_memory import family, forget_peak, own_bytes, rollup, status

REPOSITORY = Path(__file__).resolve().parents[1]
FILES, ROWS_PER_ARCHIVE = 48, 1000
MAX_TOKENS = 4_096_000  # samples: the recipe's batch
FILES_FROM_A_WORKER = 40
LOOKUPS = 1000
MB = 1e6


# --- a corpus ---------------------------------------------------------------------------------------------------------


def make_files(folder):
    """Some short files, packed. -> [(offset, length, samples)]."""
    import soundfile

    from spin_fairseq.speech.manifest import load_manifest, write_manifest
    from spin_fairseq.preparation.packing import pack

    rng = np.random.default_rng(0)
    (folder / "audio").mkdir(parents=True)
    rows = []
    for number in range(FILES):
        samples = int(rng.integers(40_000, 80_000))
        time_s = np.arange(samples) / 16000
        tone = 0.2 * np.sign(np.sin(2 * np.pi * (100 + 3 * number) * time_s)) + 0.02 * rng.standard_normal(samples)
        soundfile.write(folder / "audio" / f"{number}.flac", tone, 16000)
        rows.append((f"{number}.flac", samples))
    write_manifest(folder / "files.tsv", folder / "audio", rows)
    pack(load_manifest(folder, "files"), folder / "packed")
    places = [row[0].split(":") for row in load_manifest(folder / "packed", "files").rows(range(FILES))]
    return [(int(offset), int(length), samples) for (_, offset, length), (_, samples) in zip(places, rows)]


def make_manifest(folder, split, files, rows):
    """`{split}.tsv` in `folder`, as pack_corpus.py would write it of a corpus of so many files."""
    for number in range(-(-rows // ROWS_PER_ARCHIVE)):
        archive = folder / f"{split}-{number:05d}.zip"
        if not archive.exists():
            archive.symlink_to(folder / "packed" / "files-00000.zip")
    with open(folder / f"{split}.tsv", "w") as file:
        file.write(f"{folder}\n")
        for i in range(rows):
            offset, length, samples = files[i % len(files)]
            speaker, book = i % 7919, i % 331
            file.write(
                f"{split}-{i // ROWS_PER_ARCHIVE:05d}.zip:{offset}:{length}\t{samples}\t{speaker}\t"
                f"{speaker}/{book}/{speaker}-{book}-{i:08d}.flac\n"
            )


# --- one number of rows -----------------------------------------------------------------------------------------------


def measure(folder, split, workers):
    """-> {column: seconds or bytes}; runs in a process of its own."""
    import logging

    import torch
    from fairseq.tasks import FairseqTask

    import spin_fairseq  # noqa: F401
    from spin_fairseq.speech.manifest import load_manifest
    from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
    from spin_fairseq.data.two_view_dataset import TwoViewDataset

    logging.disable()
    torch.set_num_threads(1)
    found = {}
    forget_peak()
    before, start = status("VmRSS"), time.perf_counter()
    manifest = load_manifest(folder, split)
    found["load"] = time.perf_counter() - start
    found["load_peak"], found["held"] = status("VmHWM") - before, status("VmRSS") - before

    start = time.perf_counter()
    manifest.speakers()
    found["speakers"] = time.perf_counter() - start

    forget_peak()
    start = time.perf_counter()
    dataset = TwoViewDataset(
        manifest,
        pitch=load_speaker_pitch(None),
        backend=None,
        seed=1,
        train=True,
        min_samples=40000,
        max_samples=272000,
    )
    batches = FairseqTask(None).get_batch_iterator(dataset, max_tokens=MAX_TOKENS, seed=1)
    batches.next_epoch_itr(shuffle=True)
    found["batches"] = time.perf_counter() - start
    found["batches_peak"] = status("VmHWM") - before

    found["marks"], found["lookup"] = marks_seconds(manifest, folder / f"{split}.marks")
    found["workers"] = workers_bytes(dataset, batches.frozen_batches, workers)
    return found


def marks_seconds(manifest, path):
    """Seconds to open a file of marks with an entry for each row, and seconds a lookup."""
    from spin_fairseq.speech.pitch_mark_cache import ENTRY, KEY, PitchMarkCache, entry_of, subject_of, write_marks

    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**64, len(manifest), KEY)
    entries = np.zeros(len(manifest), ENTRY)
    rows = rng.choice(len(manifest), min(LOOKUPS, len(manifest)), replace=False)
    for row in rows:
        subject = subject_of(manifest, row, None)
        keys[row], entries[row] = subject.key, entry_of(subject, np.zeros(0, "<u2"), 0)
    write_marks(path, keys, entries, [])
    start = time.perf_counter()
    cache = PitchMarkCache(path)
    opened = time.perf_counter() - start
    start = time.perf_counter()
    for row in rows:
        assert cache.lookup(manifest, row, None) is not None
    each = (time.perf_counter() - start) / len(rows)
    path.unlink()
    return opened, each


def workers_bytes(dataset, batches, workers):
    """Memory of the data workers' own, when each has read some files from all over the corpus."""
    import torch

    rng = np.random.default_rng(0)
    chosen = [batches[i][:4] for i in rng.integers(0, len(batches), workers * FILES_FROM_A_WORKER // 4)]
    loader = torch.utils.data.DataLoader(
        dataset, batch_sampler=chosen, num_workers=workers, collate_fn=dataset.collater, persistent_workers=True,
        multiprocessing_context="fork",  # as in training; this process was spawned, and would spawn
    )  # fmt: skip
    for batch in loader:
        assert not batch["skipped"], batch["skipped"]
    return sum(own_bytes(child.pid) for child in multiprocessing.active_children())


def scale(folder, sizes, workers):
    files = make_files(folder)
    head = ["rows", "file, MB", "load, s", "peak, MB", "held, MB", "speakers, s", "batches, s", "peak, MB"]
    head += ["marks, s", "a lookup, µs", f"{workers} workers, MB"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    smallest = found = None
    for rows in sizes:
        split = f"rows{rows}"
        make_manifest(folder, split, files, rows)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            found = pool.submit(measure, folder, split, workers).result()
        smallest = smallest or found
        cells = [
            f"{rows:,}", f"{(folder / f'{split}.tsv').stat().st_size / MB:,.0f}", f"{found['load']:.2f}",
            f"{found['load_peak'] / MB:,.0f}", f"{found['held'] / MB:,.0f}", f"{found['speakers']:.2f}",
            f"{found['batches']:.2f}", f"{found['batches_peak'] / MB:,.0f}", f"{found['marks']:.2f}",
            f"{found['lookup'] * 1e6:.0f}", f"{found['workers'] / MB:,.0f}",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)
        (folder / f"{split}.tsv").unlink()
    grown = found["workers"] - smallest["workers"]
    print(
        f"from {sizes[0]:,} to {sizes[-1]:,} rows, {workers} workers grow by {grown / MB:,.0f} MB: "
        f"{grown / found['held']:.1%} of the {found['held'] / MB:,.0f} MB that the manifest takes"
    )


# --- training -----------------------------------------------------------------------------------------------------------


def train(folder, updates, bins=10):
    """Train so many updates, and print the memory of ten stretches of them."""
    files = make_files(folder)
    make_manifest(folder, "train", files, max(2 * updates // 3, 8))  # two rows a batch: three epochs
    make_manifest(folder, "dev", files, 8)
    command = [
        os.path.join(sysconfig.get_path("scripts"), "fairseq-hydra-train"), "--config-dir", REPOSITORY / "config",
        "--config-name", "spin_demo", f"common.user_dir={REPOSITORY / 'spin_fairseq'}", f"task.data={folder}",
        "task.phones=null", "task.min_sample_size=16000", "task.max_sample_size=24000",
        f"model.checkpoint={REPOSITORY / 'examples' / 'demo' / 'hubert_demo.pt'}", "model.freeze=[cnn,pos,1..3]",
        "model.codebook_sizes=[20]", "dataset.max_tokens=48000", "dataset.max_tokens_valid=80000",
        "dataset.num_workers=2", f"dataset.validate_interval_updates={max(updates // bins, 1)}", "checkpoint.save_interval_updates=0",
        "checkpoint.no_save=true",
        "checkpoint.best_checkpoint_metric=loss", "checkpoint.maximize_best_checkpoint_metric=false",
        f"optimization.max_update={updates}", f"lr_scheduler.total_num_update={updates}",
        "common.log_format=json", "common.log_interval=1", f"hydra.run.dir={folder / 'run'}",
    ]  # fmt: skip
    log = folder / "log"
    samples = []  # (update, bytes of the main process, bytes of all, number of all)
    with open(log, "w") as output:
        run = subprocess.Popen(list(map(str, command)), stdout=output, stderr=subprocess.STDOUT, cwd=folder,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        try:
            while run.poll() is None:
                processes = family(run.pid)
                whole = sum(rollup(process, "Pss") for process in processes)
                samples.append((last_update(log), rollup(run.pid, "Rss"), whole, len(processes)))
                time.sleep(0.2)
        finally:
            run.kill()
            run.wait()
    if run.returncode:
        sys.exit(f"training failed:\n{log.read_text()[-3000:]}")
    samples = np.array([sample for sample in samples if 0 < sample[0] < updates], float).reshape(-1, 4)
    place = np.minimum(samples[:, 0] * bins // updates, bins - 1)
    print("| updates | main process, MB | all processes, MB | processes |\n|---|---|---|---|")
    medians = []
    for number in range(bins):
        if (place == number).any():
            _, main, whole, count = np.median(samples[place == number], axis=0) / [1, MB, MB, 1]
            medians.append((main, whole))
            stretch = f"{number * updates // bins} to {(number + 1) * updates // bins}"
            print(f"| {stretch} | {main:,.0f} | {whole:,.0f} | {count:.0f} |")
    main, whole = zip(*medians[1:] or medians)  # the first validation is behind the first stretch
    print(
        f"largest beside smallest, from the second stretch on: main process {max(main) / min(main) - 1:.1%}, "
        f"all {max(whole) / min(whole) - 1:.1%}"
    )


def last_update(log):
    """The number of updates that the end of fairseq's log tells; 0 before the first."""
    with open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 5000))
        found = re.findall(rb'"(?:train_)?num_updates": "(\d+)"', file.read())
    return int(found[-1]) if found else 0


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/benchmark_scale.py [--rows 10000 10000000] [--workers 8] [--updates 2000]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows", type=int, nargs="*", default=[10**4, 10**5, 10**6, 10**7], help="none: only --updates"
    )
    parser.add_argument("--workers", type=int, default=8, help="data workers (default 8)")
    parser.add_argument("--updates", type=int, default=0, help="train so many; 2000 take some minutes")
    parser.add_argument("--folder", help="where the made-up corpora go for a while: 1 GB for 10 million rows")
    args = parser.parse_args(argv)
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("error: this system has no /proc/self/smaps_rollup, where the memory of processes stands")
    with tempfile.TemporaryDirectory(prefix="scale_", dir=args.folder) as folder:
        if args.rows:
            scale(Path(folder) / "scale", sorted(args.rows), args.workers)
        if args.updates:
            train(Path(folder) / "training", args.updates)


if __name__ == "__main__":
    main()
