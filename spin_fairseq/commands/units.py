"""Write the units of a Spin checkpoint, or its scores, embeddings or features, for every utterance of a manifest or folder.
The utterances are in the manifest's order. The encoder sets the frame rate: with the published HuBERT and WavLM a frame is
20 ms. The suffix of --out chooses the format:

    .km      one row per utterance, units separated by spaces: fairseq's format; ids in the same order in .ids
    .jsonl   one line per utterance: {"id", "units" without repeats, "durations" in frames}
    .npy     all frames in one array, the number of frames of each utterance in .len, ids in .ids; if it is named
             SPLIT_RANK_NSHARD.npy (dev_0_1.npy), fairseq's learn_kmeans.py and dump_km_label.py can read it

Give an interrupted command again, and it resumes. Files get their final names when they are complete.
Long files are computed in chunks; the length of a chunk changes the memory used, but not the result. Attention takes time
proportional to the square of a file's length; for files of many minutes --attention-seconds 60 limits that, but changes
units.

With - for AUDIO, standard input is read, a WAV or raw samples, and the units are printed as they come: a line for each
chunk, or with --deduplicate for each run of equal units. Where the audio ends, or at Ctrl-C, the rest is printed.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from spin_fairseq.threads import settle

from . import units_of_a_pipe
from .models import loader
from .parser import Parser, UsageError

if TYPE_CHECKING:
    from spin_fairseq.shards import ShardedWork

EXAMPLES = (
    "spin-fairseq units checkpoint_last.pt data/mine/dev.tsv --out dev.km",
    "spin-fairseq units checkpoint_last.pt my_audio --out units.jsonl --threads 4",
    "spin-fairseq units checkpoint_last.pt data/mine/dev.tsv --out embeddings/dev_0_1.npy --output embeddings",
    "spin-fairseq units hubert_base_ls960.pt data/mine/dev.tsv --out layer9.npy --output features --layer 9",
    "ffmpeg -i talk.mp4 -f wav - | spin-fairseq units checkpoint_last.pt -",
    "arecord -f S16_LE -r 16000 -t raw | spin-fairseq units checkpoint_last.pt - --sample-rate 16000",
)
KEPT = "the utterances finished so far are kept"
OUTPUTS = ("units", "embeddings", "scores", "features")


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a Spin checkpoint, in any format that this package reads")
    add("audio", metavar="AUDIO", help="manifest (.tsv, .json), folder, or - for standard input")
    add("--out", metavar="FILE", help="file to write, such as dev.km, dev.jsonl or dev_0_1.npy")
    add("--output", choices=OUTPUTS, help="what to write for each frame (default units)")
    add("--layer", type=int, metavar="N", help="layer of --output features, counted from 1 (default: the one that the head "
        "reads)")  # fmt: skip
    add("--codebook", type=int, default=0, metavar="I", help="which codebook, when there are several (default 0)")
    add("--format", choices=("km", "npy", "jsonl"), help="the format, if the suffix of --out does not say it")
    add("--deduplicate", action="store_true", help="in .km files and printed lines, write a run of equal units as one")
    parser.add_encoder()
    parser.add_overwrite("replace the file")
    parser.add_device()
    parser.add_dtype()
    parser.add_threads()
    parser.add_shards()
    add("--batch-seconds", type=float, metavar="S", help="audio in a batch (default 30; 12 on a CPU, where each thread "
        "computes its own batch)")  # fmt: skip
    add("--chunk-seconds", type=float, metavar="S", help="audio of a file that is computed at a time (default 10)")
    add("--attention-seconds", type=float, metavar="S", help="in longer files attention is limited to overlapping chunks of "
        "this length")  # fmt: skip
    units_of_a_pipe.add_arguments(parser)


def work(args: Namespace) -> ShardedWork:
    units_of_a_pipe.check(args)
    settle()
    from spin_fairseq.extraction.output_file import OutputFile, batch_samples
    from spin_fairseq.speech.folder import manifest_of

    for name in ("batch_seconds", "chunk_seconds", "attention_seconds"):
        seconds = getattr(args, name)
        if seconds is not None and not seconds > 0:
            raise UsageError(f"--{name.replace('_', '-')} must be above 0")
    load = loader(args, args.checkpoint, any_model=args.output == "features")
    samples = batch_samples(args.device, args.batch_seconds)
    return OutputFile(
        load, args.checkpoint, manifest_of(args.audio), args.out, keys=args.encoder, dtype=args.dtype,
        overwrite=args.overwrite, say=args.say, output=args.output or "units", layer=args.layer, codebook=args.codebook,
        format=args.format, deduplicate=args.deduplicate, attention_seconds=args.attention_seconds,
        options={"device": args.device, "workers": args.threads, "max_samples": samples, "chunk_seconds": args.chunk_seconds or 10.0},
    )  # fmt: skip


def run(args: Namespace) -> int | None:
    return units_of_a_pipe.run(args) if args.audio == "-" else work(args).run()
