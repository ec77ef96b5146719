#!/usr/bin/env python3
"""Audio seconds a second that the data workers deliver, by perturbation backend.

    python scripts/benchmark_data_loading.py DATA/train.tsv
    python scripts/benchmark_data_loading.py DATA/train.tsv --workers 0 2 8 --backends none native praat --batches 20
    python scripts/benchmark_data_loading.py DATA/train.tsv --backends native --pitch-marks DATA/marks
    python scripts/benchmark_data_loading.py DATA/train.tsv PACKED/train.tsv --backends none --repeats 5

What is timed is the way from file to batch: decode, crop, perturb, equalise, pad. A row gives the seconds of one view a
second, in all and per worker (0 workers: the main process loads). 45 minutes for the 5,000 updates of 256 s of the recipe
take 474 of these a second. Several manifests, such as the files and the same packed by pack_corpus.py, take turns; the
medians of --repeats turns are given.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

import spin_fairseq  # noqa: F401
from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.speech.pitch_mark_cache import PitchMarkCache
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.data.two_view_dataset import TwoViewDataset
from spin_fairseq.speech.audio import SAMPLE_RATE
from spin_fairseq.errors import SpinError
from spin_fairseq.perturbation import BACKENDS, build_backend


def seconds_per_second(dataset, batches, workers):
    """Seconds of audio (one view) that the batches hold, over the seconds that loading them took."""
    torch.set_num_threads(1)
    loader = torch.utils.data.DataLoader(
        dataset, batch_sampler=batches, num_workers=workers, collate_fn=dataset.collater
    )
    start, samples = time.perf_counter(), 0
    for batch in loader:
        samples += sum(batch["lengths"])
    return samples / SAMPLE_RATE / (time.perf_counter() - start)


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/benchmark_data_loading.py DATA/train.tsv [PACKED/train.tsv] [--workers 0 2] [--backends none native praat]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifests", type=Path, nargs="+", metavar="manifest")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--backends", nargs="+", choices=list(BACKENDS), default=list(BACKENDS))
    parser.add_argument("--pitch-marks", help="folder of cached marks for the native backend")
    parser.add_argument("--batches", type=int, default=10, help="how many are loaded (default 10)")
    parser.add_argument("--max-tokens", type=int, default=800000, help="samples of one view a batch (default 800000)")
    parser.add_argument("--repeats", type=int, default=1, help="times that all is measured (default 1)")
    args = parser.parse_args(argv)
    try:
        pitch = load_speaker_pitch(None)
        loaded = []
        for path in args.manifests:
            marks = PitchMarkCache.open(args.pitch_marks, path.stem) if args.pitch_marks else None
            loaded.append((load_manifest(path.parent, path.stem), marks))
        print(f"{'backend':8s} {'workers':>7s} {'s/s':>8s} {'s/s per worker':>15s}  manifest")
        for name in args.backends:
            datasets = [
                TwoViewDataset(
                    manifest, pitch=pitch, backend=build_backend(name), seed=1, train=True,
                    min_samples=SAMPLE_RATE, max_samples=17 * SAMPLE_RATE, marks=marks if name == "native" else None,
                )
                for manifest, marks in loaded
            ]  # fmt: skip
            for workers in args.workers:
                speeds = [[] for _ in datasets]
                for _ in range(args.repeats):
                    for dataset, found in zip(datasets, speeds):
                        batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=args.max_tokens)
                        found.append(seconds_per_second(dataset, batches[: args.batches], workers))
                for path, speed in zip(args.manifests, map(statistics.median, speeds)):
                    print(f"{name:8s} {workers:7d} {speed:8.1f} {speed / max(workers, 1):15.1f}  {path}", flush=True)
    except SpinError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
