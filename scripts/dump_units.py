#!/usr/bin/env python3
"""Write the units of a Spin checkpoint, or what comes before them, for every utterance of a manifest or a folder.

    python scripts/dump_units.py outputs/spin_hubert_base/checkpoints/checkpoint_last.pt DATA/dev.tsv dev.km
    python scripts/dump_units.py checkpoint_last.pt FOLDER_OF_AUDIO units.jsonl --device cuda --workers 4
    python scripts/dump_units.py checkpoint_last.pt DATA/dev.tsv embeddings/dev_0_1.npy --output embeddings
    python scripts/dump_units.py hubert_base_ls960.pt DATA/dev.tsv layer9.npy --output features --layer 9

The utterances are in the manifest's order, a frame is 20 ms. What is written goes by the name of the output:

    .km      a row an utterance, units separated by spaces: fairseq's format; ids in the same order in .ids
    .jsonl   a line an utterance: {"id", "units" without repeats, "durations" in frames}
    .npy     all frames in one array, the number of frames of each utterance in .len, ids in .ids; named
             SPLIT_RANK_NSHARD.npy (dev_0_1.npy), fairseq's learn_kmeans.py and dump_km_label.py take it

An interrupted command, given again, goes on where it stopped. Files get their names when they are whole.
A long file is computed in chunks, whose length changes the memory that it takes and not the result. Its attention takes
time with the square of its length; --attention-seconds 60 bounds that for files of many minutes, and changes units.
"""

import argparse
import sys

import torch

from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.speech.folder import manifest_of
from spin_fairseq.errors import CheckpointError, SpinError
from spin_fairseq.extraction.dumping import FORMATS, OUTPUTS, dump


def load(checkpoint, output):
    """A SpinModel; an encoder alone where no head is needed and there is none."""
    try:
        return load_spin(checkpoint)
    except CheckpointError:
        if output != "features":
            raise
        return load_encoder(checkpoint)


def device(name):
    try:
        torch.zeros(0, device=name)
    except (RuntimeError, AssertionError) as error:  # of no such kind, or not on this machine
        raise argparse.ArgumentTypeError(f"{name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return name


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/dump_units.py checkpoint_last.pt DATA/dev.tsv dev.km [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", help="of Spin, in any form that this package reads")
    parser.add_argument("audio", help="manifest (.tsv, .json) or folder")
    parser.add_argument("out", help="file to write, such as dev.km, dev.jsonl or dev_0_1.npy")
    parser.add_argument("--output", choices=OUTPUTS, default="units", help="what of each frame (default units)")
    parser.add_argument("--layer", type=int, help="1-based layer of --output features (default: the one the head reads)")
    parser.add_argument("--codebook", type=int, default=0, help="which codebook, when there are several (default 0)")
    parser.add_argument("--format", choices=FORMATS, help="whatever the name of the output says")
    parser.add_argument("--deduplicate", action="store_true", help="in .km, write a run of equal units as one")
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda, cuda:1 ... (default cpu)")
    parser.add_argument("--workers", type=int, default=1, help="threads that decode audio meanwhile (default 1)")
    parser.add_argument(
        "--batch-seconds", type=float, help="of audio in a batch (default 30; 12 on a CPU, where each is run by one thread)"
    )
    parser.add_argument("--chunk-seconds", type=float, default=10.0, help="computed at a time of a file (default 10)")
    parser.add_argument(
        "--attention-seconds", type=float, help="longer files attend within overlapping chunks of this length alone"
    )
    args = parser.parse_args(argv)
    if args.batch_seconds is None:
        args.batch_seconds = 12.0 if args.device == "cpu" else 30.0
    if min(args.chunk_seconds, args.batch_seconds, 1.0 if args.attention_seconds is None else args.attention_seconds) <= 0:
        parser.error("--chunk-seconds, --batch-seconds and --attention-seconds must be above 0")
    try:
        model = load(args.checkpoint, args.output).to(args.device)
        dump(
            model, args.checkpoint, manifest_of(args.audio), args.out, output=args.output, layer=args.layer,
            codebook=args.codebook, format=args.format, deduplicate=args.deduplicate, device=args.device,
            workers=args.workers, max_samples=int(args.batch_seconds * 16000), chunk_seconds=args.chunk_seconds,
            attention_seconds=args.attention_seconds, progress=args.output,
        )  # fmt: skip
    except SpinError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
