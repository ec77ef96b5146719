#!/usr/bin/env python3
"""Audio seconds a second that the data workers deliver, by perturbation backend.

    python scripts/benchmark_data_loading.py DATA/train.tsv
    python scripts/benchmark_data_loading.py DATA/train.tsv --workers 0 2 8 --backends none native praat --batches 20
    python scripts/benchmark_data_loading.py DATA/train.tsv --backends native --pitch-marks DATA/marks

What is timed is the way from file to batch: decode, crop, perturb, equalise, pad. A row gives the seconds of one view a
second, in all and per worker (0 workers: the main process loads). 45 minutes for the 5,000 updates of 256 s of the recipe
take 474 of these a second.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

import spin_fairseq  # noqa: F401
from spin_fairseq.data.manifest import load_manifest
from spin_fairseq.data.pitch_mark_cache import PitchMarkCache
from spin_fairseq.data.speaker_pitch import load_speaker_pitch
from spin_fairseq.data.two_view_dataset import SAMPLE_RATE, TwoViewDataset
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
        usage="python scripts/benchmark_data_loading.py DATA/train.tsv [--workers 0 2] [--backends none native praat]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--backends", nargs="+", choices=list(BACKENDS), default=list(BACKENDS))
    parser.add_argument("--pitch-marks", help="folder of cached marks for the native backend")
    parser.add_argument("--batches", type=int, default=10, help="how many are loaded (default 10)")
    parser.add_argument("--max-tokens", type=int, default=800000, help="samples of one view a batch (default 800000)")
    args = parser.parse_args(argv)
    try:
        manifest = load_manifest(args.manifest.parent, args.manifest.stem)
        pitch = load_speaker_pitch(None)
        marks = PitchMarkCache.open(args.pitch_marks, args.manifest.stem) if args.pitch_marks else None
        print(f"{'backend':8s} {'workers':>7s} {'s/s':>8s} {'s/s per worker':>15s}")
        for name in args.backends:
            dataset = TwoViewDataset(
                manifest, pitch=pitch, backend=build_backend(name), seed=1, train=True,
                min_samples=SAMPLE_RATE, max_samples=17 * SAMPLE_RATE, marks=marks if name == "native" else None,
            )  # fmt: skip
            batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=args.max_tokens)[: args.batches]
            for workers in args.workers:
                speed = seconds_per_second(dataset, batches, workers)
                print(f"{name:8s} {workers:7d} {speed:8.1f} {speed / max(workers, 1):15.1f}", flush=True)
    except SpinError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
