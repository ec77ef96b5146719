#!/usr/bin/env python3
"""Audio a second of extracting features on a CPU, beside transformers.HubertModel fed one file at a time.

    python scripts/benchmark_extraction.py --threads 2
    python scripts/benchmark_extraction.py --layer 9 --repeats 5

A HuBERT of Base size with random weights, the same in both; "utterances" of noise, with lengths as LibriSpeech's. Rounds
of both sides alternate in one run; what counts is the median ratio. Ours is what `spin-fairseq units --output features` does,
without reading files, batches included. Layers above --layer are not computed by ours; transformers always runs all.

What both have in common are the products: matrix products, convolutions, attention. The last line says how fast ours
would be, and how many times as fast as transformers, if it did nothing else: by torch's profiler, of one thread's time
in these operators, shared evenly by --threads.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import spin_fairseq  # noqa: F401  registers the models

import numpy as np
import torch

from measuring.step_floor import product_seconds
from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.checkpoints.writers import convert
from spin_fairseq.encoders import SpeechEncoder
from spin_fairseq.extraction.batches import batches_by_length, compute_batches

BASE = {
    "kind": "hubert", "normalize": False, "sample_rate": 16000, "label_rate": 50.0,
    "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
}  # fmt: skip
SMALL = {
    "encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 128, "encoder_attention_heads": 4,
    "conv_feature_layers": "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2", "conv_pos": 32, "conv_pos_groups": 4,
}  # fmt: skip


def both_models(folder, config):
    """-> our encoder and transformers' model, with the same random weights."""
    from transformers import HubertModel

    torch.manual_seed(0)
    encoder = SpeechEncoder(config)
    tensors = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    source = folder / "encoder.pt"
    model = {"encoder": config, "head_dims": [8], "codebook_sizes": [8], "freeze": ""}
    tensors.update({"head.projection.0.weight": torch.zeros(8, encoder.width), "head.projection.0.bias": torch.zeros(8),
                    "head.prototypes.0": torch.eye(8)})  # fmt: skip
    torch.save({"format": "spin_fairseq", "version": 1, "model": model, "state_dict": tensors}, source)
    convert(source, folder / "hf", "hf")
    return load_encoder(source), HubertModel.from_pretrained(folder / "hf").eval()


def librispeech_lengths(count, seconds):
    """Samples: between 2 and 16 s, most of them long; the mean is `seconds`."""
    lengths = 2.0 + 14.0 * np.random.default_rng(0).beta(3.0, 1.2, count)
    return (lengths * seconds / lengths.mean() * 16000).astype(int)


def timed(function):
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


@torch.inference_mode()
def measure(encoder, theirs, waves, layer, repeats, batch_seconds):
    """-> seconds of each round, ours, theirs and of ours in products alone; the largest difference of their results."""
    batches = [[waves[i] for i in batch] for batch in batches_by_length([len(w) for w in waves], batch_seconds * 16000)]

    def compute(source, mask):
        return encoder.extract_features(source, mask, output_layer=layer)[0]

    threads = torch.get_num_threads()

    def ours(threads=threads):
        for _ in compute_batches(compute, enumerate(batches), threads):
            pass

    def products():
        torch.set_num_threads(1)
        seconds = product_seconds(lambda: ours(threads=1))
        torch.set_num_threads(threads)
        return seconds / threads

    def transformers():
        for wave in waves:
            theirs(wave[None], output_hidden_states=layer != encoder.num_layers)

    one = waves[0][None]
    found = encoder.extract_features(one, output_layer=layer)[0]
    expected = theirs(one, output_hidden_states=True).hidden_states[layer]
    difference = (found - expected).abs().max().item()
    times = [(timed(ours), timed(transformers), products()) for _ in range(repeats + 1)][1:]  # the first one warms up
    return *zip(*times), difference


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/benchmark_extraction.py [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch, for both (default 1)")
    parser.add_argument("--layer", type=int, default=12, help="1-based layer that is wanted (default 12, the last)")
    parser.add_argument(
        "--utterances", type=int, help="default 8 for each thread: with a few, ours leaves threads idle at the end"
    )
    parser.add_argument("--seconds", type=float, default=12.0, help="mean length of an utterance (default 12)")
    parser.add_argument(
        "--batch-seconds",
        type=int,
        default=12,
        help="of ours, each run by one thread (default 12, as `spin-fairseq units`)",
    )
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--small", action="store_true", help="a tiny model: to try the script, not to measure")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    utterances = args.utterances or 8 * args.threads
    waves = [0.1 * torch.randn(length) for length in librispeech_lengths(utterances, args.seconds)]
    audio = sum(len(wave) for wave in waves) / 16000
    with tempfile.TemporaryDirectory() as folder:
        encoder, theirs = both_models(Path(folder), {**BASE, **(SMALL if args.small else {})})
        layer = min(args.layer, encoder.num_layers)
        times = measure(encoder, theirs, waves, layer, args.repeats, args.batch_seconds)
    ours, transformers, products, difference = times
    ratio = statistics.median(b / a for a, b in zip(ours, transformers))
    highest = statistics.median(b / a for a, b in zip(products, transformers))
    print(
        f"layer {layer} of {encoder.num_layers}, {audio:.0f} s of audio in {len(waves)} utterances, {args.threads} thread(s)"
    )
    print(f"ours          {audio / statistics.median(ours):8.2f} s/s")
    print(f"transformers  {audio / statistics.median(transformers):8.2f} s/s")
    print(
        f"ratio         {ratio:8.2f}  (median of {args.repeats} rounds; largest difference of features {difference:.1e})"
    )
    print(f"nothing but its products: {audio / statistics.median(products):.2f} s/s, {highest:.2f} times transformers")


if __name__ == "__main__":
    main()
