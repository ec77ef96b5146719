#!/usr/bin/env python3
"""Speed of products in half precision on a CPU, and how many units they change.

    python scripts/benchmark_half_precision.py AUDIO                                 a HuBERT of Base size, random weights
    python scripts/benchmark_half_precision.py AUDIO --checkpoint hubert_base_ls960.pt --layer 9

AUDIO: a manifest or a folder. Each precision computes the same utterances, one after another in turn, on one thread. CPU seconds
of this process are taken, which other processes lengthen less than those of the clock. A unit is the nearest of K centroids that
k-means finds in the features of float32.
"""

import argparse
import statistics
import time

import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.encoders import PRECISIONS, SpeechEncoder
from spin_fairseq.modules.kmeans import kmeans
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.folder import manifest_of

BASE = {"kind": "hubert", "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"}


def random_base():
    torch.manual_seed(0)
    return SpeechEncoder(BASE).eval()


@torch.no_grad()
def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/benchmark_half_precision.py AUDIO [--checkpoint FILE]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("audio", help="manifest or folder")
    parser.add_argument("--checkpoint", metavar="FILE", help="of an encoder or a Spin (default: random weights)")
    parser.add_argument("--layer", type=int, metavar="N", help="1-based (default: the last)")
    parser.add_argument("--utterances", type=int, default=20, help="the first of AUDIO (default 20)")
    parser.add_argument("--clusters", type=int, default=100, help="of k-means (default 100)")
    parser.add_argument("--turns", type=int, default=3, help="of each precision; the median counts (default 3)")
    parser.add_argument("--dtypes", nargs="+", choices=PRECISIONS, default=["float32", "bfloat16"])
    args = parser.parse_args(argv)

    torch.set_num_threads(1)
    manifest = manifest_of(args.audio)
    waves = [torch.from_numpy(read_audio(manifest.path(i)))[None] for i in range(min(args.utterances, len(manifest)))]
    encoders = {}
    for dtype in dict.fromkeys(["float32", *args.dtypes]):
        encoder = load_encoder(args.checkpoint) if args.checkpoint else random_base()
        encoders[dtype] = encoder.multiply_in(dtype)
    seconds, features = {dtype: [] for dtype in encoders}, {}
    for _ in range(args.turns):
        for dtype, encoder in encoders.items():
            start = time.process_time()
            rows = [encoder.encode(wave, output_layer=args.layer).features[0] for wave in waves]
            seconds[dtype].append(time.process_time() - start)
            features[dtype] = torch.cat(rows)
    centroids, _ = kmeans(features["float32"], args.clusters, starts=1)
    units = {dtype: torch.cdist(rows, centroids).argmin(1) for dtype, rows in features.items()}
    audio = sum(wave.size(1) for wave in waves) / encoders["float32"].sample_rate
    print(f"{len(waves)} utterances, {audio:.0f} s, K = {args.clusters}, {args.checkpoint or 'random HuBERT Base'}")
    print(f"{'':9s} {'CPU s':>8s} {'times float32':>14s} {'units that change':>18s} {'features differ':>16s}")
    for dtype in encoders:
        median = {name: statistics.median(seconds[name]) for name in (dtype, "float32")}
        changed = (units[dtype] != units["float32"]).float().mean().item()
        differ = ((features[dtype] - features["float32"]).norm() / features["float32"].norm()).item()
        print(f"{dtype:9s} {median[dtype]:8.2f} {median['float32'] / median[dtype]:14.2f} {100 * changed:16.2f} % "
              f"{100 * differ:14.2f} %")  # fmt: skip


if __name__ == "__main__":
    main()
