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

from spin_fairseq.threads import settle

from . import units_of_a_pipe
from .outputs import refuse_to_replace
from .parser import UsageError, usable_device

EXAMPLES = (
    "spin-fairseq units checkpoint_last.pt data/mine/dev.tsv --out dev.km",
    "spin-fairseq units checkpoint_last.pt my_audio --out units.jsonl --threads 4",
    "spin-fairseq units checkpoint_last.pt data/mine/dev.tsv --out embeddings/dev_0_1.npy --output embeddings",
    "spin-fairseq units hubert_base_ls960.pt data/mine/dev.tsv --out layer9.npy --output features --layer 9",
    "ffmpeg -i talk.mp4 -f wav - | spin-fairseq units checkpoint_last.pt -",
    "arecord -f S16_LE -r 16000 -t raw | spin-fairseq units checkpoint_last.pt - --sample-rate 16000",
)
KEPT = "the utterances finished so far are kept"


def add_arguments(parser):
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a Spin checkpoint, in any format that this package reads"
    )
    parser.add_argument("audio", metavar="AUDIO", help="manifest (.tsv, .json), folder, or - for standard input")
    parser.add_argument("--out", metavar="FILE", help="file to write, such as dev.km, dev.jsonl or dev_0_1.npy")
    parser.add_argument("--output", choices=("units", "embeddings", "scores", "features"),
                        help="what to write for each frame (default units)")  # fmt: skip
    parser.add_argument(
        "--layer",
        type=int,
        metavar="N",
        help="layer of --output features, counted from 1 (default: the one that the head reads)",
    )
    parser.add_argument(
        "--codebook", type=int, default=0, metavar="I", help="which codebook, when there are several (default 0)"
    )
    parser.add_argument(
        "--format", choices=("km", "npy", "jsonl"), help="the format, if the suffix of --out does not say it"
    )
    parser.add_argument(
        "--deduplicate", action="store_true", help="in .km files and printed lines, write a run of equal units as one"
    )
    parser.add_encoder()
    parser.add_overwrite("replace the file")
    parser.add_device()
    parser.add_dtype()
    parser.add_threads()
    parser.add_shards()
    parser.add_argument(
        "--batch-seconds",
        type=float,
        metavar="S",
        help="audio in a batch (default 30; 12 on a CPU, where each thread computes its own batch)",
    )
    parser.add_argument(
        "--chunk-seconds", type=float, metavar="S", help="audio of a file that is computed at a time (default 10)"
    )
    parser.add_argument(
        "--attention-seconds",
        type=float,
        metavar="S",
        help="in longer files attention is limited to overlapping chunks of this length",
    )
    units_of_a_pipe.add_arguments(parser)


def run(args):
    units_of_a_pipe.check(args)
    if args.audio == "-":
        return units_of_a_pipe.run(args)
    settle()
    manifest = _manifest(args)
    refuse_to_replace([args.out], args.overwrite)
    _dump(args, manifest, args.out)
    args.say(f"{args.out}: {_output(args)} of {len(manifest):,} utterances")


def _manifest(args):
    from spin_fairseq.speech.folder import manifest_of

    for name in ("batch_seconds", "chunk_seconds", "attention_seconds"):
        seconds = getattr(args, name)
        if seconds is not None and not seconds > 0:
            raise UsageError(f"--{name.replace('_', '-')} must be above 0")
    return manifest_of(args.audio)


def _output(args):
    return args.output or "units"


def _format(args):
    from spin_fairseq.extraction.dumping import format_of

    return args.format or format_of(args.out, _output(args))


def _dump(args, manifest, out):
    args.say(settle())
    device = usable_device(args.device)
    from spin_fairseq.checkpoints import load_model, load_spin
    from spin_fairseq.checkpoints.given import encoder_keys
    from spin_fairseq.extraction.dumping import dump
    from spin_fairseq.speech.audio import SAMPLE_RATE

    batch_seconds = args.batch_seconds or (12.0 if device == "cpu" else 30.0)
    output = _output(args)
    load = load_model if output == "features" else load_spin
    dump(
        load(args.checkpoint, args.dtype, **encoder_keys(args.encoder)).to(device), args.checkpoint, manifest, out,
        output=output, layer=args.layer, codebook=args.codebook, format=_format(args), deduplicate=args.deduplicate, device=device,
        workers=args.threads, max_samples=int(batch_seconds * SAMPLE_RATE), chunk_seconds=args.chunk_seconds or 10.0,
        attention_seconds=args.attention_seconds, progress=output,
    )  # fmt: skip


# --- several machines: see `sharding` -----------------------------------------------------------------------------


def shard_inputs(args):
    from spin_fairseq.fingerprints import content_digest, digest_of, manifest_fingerprint

    units_of_a_pipe.check(args)
    data = [manifest_fingerprint(_manifest(args)), content_digest(args.checkpoint), args.encoder]
    options = [
        _output(args),
        args.layer,
        args.codebook,
        _format(args),
        args.deduplicate,
        args.attention_seconds,
        args.dtype,
    ]
    return digest_of([data, options])


def compute_shard(args, shard, folder):
    import numpy as np

    from spin_fairseq.extraction.shards import rows_of_shard

    refuse_to_replace([args.out], args.overwrite)
    manifest = _manifest(args)
    begin, end = rows_of_shard(manifest.sizes, shard)
    if begin == end:
        return [], {"utterances": 0}
    out = folder.file(shard, f".{_format(args)}")
    _dump(args, manifest.select(np.arange(begin, end)), out)
    beside = (out.with_suffix(suffix) for suffix in (".len", ".ids"))
    return [out, *(file for file in beside if file.exists())], {"utterances": end - begin}


def merge_shards(args, folder, records):
    from spin_fairseq.extraction.shards import merge_dumps

    refuse_to_replace([args.out], args.overwrite)
    merge_dumps(folder.files(records, f".{_format(args)}"), args.out)
    utterances = sum(record.facts["utterances"] for record in records)
    args.say(f"{args.out}: {_output(args)} of {utterances:,} utterances, of {len(records)} shards")
    return 0
