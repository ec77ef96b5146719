"""Learn acoustic pieces (R-Spin) from units, and write the piece of each frame, for task.pieces: byte-pair encoding of units
without repeats. Pieces are learnt on the first file; the others, such as that of dev, are only written. The files are .km or
.jsonl of spin-fairseq units, without --deduplicate; or, with --model, manifests whose units are made first.

--out gets tokenizer.json (as the tokenizers library reads it), pieces.json, and of each split SPLIT.bin (the piece of each
frame), .len (frames of each utterance), .ids and .json. An interrupted command resumes when it is given again. Shards, with
--model, make the units, which takes nearly all of the time; the merge learns and writes the pieces. Needs tokenizers:
pip install "spin_fairseq[pieces]".
"""

from __future__ import annotations

from pathlib import Path

from spin_fairseq.threads import settle

from .parser import UsageError, usable_device
from .values import at_least

EXAMPLES = (
    "spin-fairseq pieces train.jsonl dev.jsonl --out pieces",
    "spin-fairseq pieces data/mine/train.tsv data/mine/dev.tsv --model spin_2048.pt --vocabulary 40000 --out pieces",
)
KEPT = "the units and rows finished so far are kept"
AGAIN = "without --overwrite"


def add_arguments(parser):
    parser.add_argument("files", nargs="+", metavar="UNITS", help="files of units, or with --model manifests")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for the pieces: the later task.pieces")
    parser.add_argument(
        "--vocabulary", type=at_least(2), default=40_000, metavar="N", help="pieces at most (default 40000)"
    )
    parser.add_argument("--model", metavar="CHECKPOINT", help="a Spin whose units are made first, in OUT/units")
    parser.add_argument("--codebook", type=int, default=0, metavar="I", help="of --model (default 0)")
    parser.add_argument(
        "--codes",
        type=at_least(1),
        metavar="K",
        help="units of the codebook (default: --model's, or up to the largest)",
    )
    parser.add_argument(
        "--learn-from", type=at_least(1), default=100_000, metavar="N",
        help="utterances to learn on at most, drawn by the seed (default 100000: 3 GB of memory)",
    )  # fmt: skip
    parser.add_argument(
        "--frame-samples", type=at_least(1), metavar="N",
        help="samples from one frame of units to the next (default: --model's, or 320, which are 20 ms)",
    )  # fmt: skip
    parser.add_seed("the draw of --learn-from")
    parser.add_encoder()
    parser.add_overwrite("learn and write anew")
    parser.add_device()
    parser.add_threads()
    parser.add_shards()


def run(args):
    splits = [Path(name).stem for name in args.files]
    if len(set(splits)) < len(splits):
        raise UsageError("two of the files have the same name, which their pieces would share")
    if args.overwrite:
        _remove_pieces(Path(args.out))
    from spin_fairseq.extraction.acoustic_pieces import write_pieces
    from spin_fairseq.progress import ProgressBar

    files, codes, frame_samples = args.files, args.codes, args.frame_samples or 320
    if args.model:
        files, codes, frame_samples = _units_of_model(args)
    with ProgressBar(desc="pieces", unit=" utterances", unit_scale=True) as bar:
        found = write_pieces(
            files, args.out, vocabulary=args.vocabulary, codes=codes, sample=args.learn_from, seed=args.seed,
            frame_samples=frame_samples, progress=lambda split, rows: bar.update(rows),
        )  # fmt: skip
    args.say(
        f"{args.out}: {len(found['used']):,} pieces in use, of {found['learnt']:,} that were learnt on {splits[0]} and "
        f"{args.vocabulary:,} that were asked for; {found['codes']:,} units"
    )


def _remove_pieces(out):
    from .outputs import remove

    if (out / "pieces.json").is_file():
        records = [file.stem for file in out.glob("*.json") if file.name not in ("pieces.json", "tokenizer.json")]
        suffixes = (".bin", ".len", ".ids", ".json", ".bin.part", ".len.part", ".ids.part", ".bin.progress")
        remove([out / f"{stem}{suffix}" for stem in records for suffix in suffixes])
        remove([out / "tokenizer.json", out / "pieces.json"])


def _units_of_model(args):
    """-> files of units, the number of codes, samples from one frame to the next."""
    args.say(settle())
    from spin_fairseq.errors import ConfigError
    from spin_fairseq.files import write_text
    from spin_fairseq.speech.audio import SAMPLE_RATE
    from spin_fairseq.speech.folder import manifest_of

    model = _load(args)
    files = [_units_file(args, name) for name in args.files]
    for name, file in zip(args.files, files):
        manifest, record = manifest_of(name), file.with_suffix(".source")
        source = _source(args, manifest)
        if file.exists() and not args.overwrite:
            if record.exists() and record.read_text() == source:
                continue
            raise ConfigError(
                f"{file}: units of another model or manifest; --overwrite replaces them, or choose another --out"
            )
        write_text(record, source, ConfigError)
        _dump_units(args, model, manifest, file)
    return files, len(model.head.prototypes[args.codebook]), round(model.encoder.frame_seconds * SAMPLE_RATE)


def _units_file(args, name):
    return Path(args.out) / "units" / f"{Path(name).stem}.jsonl"


def _source(args, manifest):
    """A digest of what units are made of."""
    from spin_fairseq.fingerprints import digest_of, file_fingerprint, manifest_fingerprint

    return digest_of([file_fingerprint(args.model), args.codebook, args.encoder, manifest_fingerprint(manifest)])


def _load(args):
    device = usable_device(args.device)
    from spin_fairseq.checkpoints import load_spin
    from spin_fairseq.checkpoints.given import encoder_keys

    return load_spin(args.model, **encoder_keys(args.encoder)).to(device)


def _dump_units(args, model, manifest, file):
    from spin_fairseq.extraction.dumping import dump
    from spin_fairseq.speech.audio import SAMPLE_RATE

    dump(
        model, args.model, manifest, file, codebook=args.codebook, device=args.device, workers=args.threads,
        max_samples=(12 if args.device == "cpu" else 30) * SAMPLE_RATE, progress=f"units of {Path(file).stem}",
    )  # fmt: skip


# --- several machines: see `sharding` -----------------------------------------------------------------------------


def shard_inputs(args):
    if not args.model:
        raise UsageError("shards are for --model: of files of units, pieces are learnt and written by one machine")
    from spin_fairseq.fingerprints import content_digest, digest_of, manifest_fingerprint
    from spin_fairseq.speech.folder import manifest_of

    manifests = [(Path(name).stem, manifest_fingerprint(manifest_of(name))) for name in args.files]
    return digest_of([manifests, content_digest(args.model), args.codebook, args.encoder])


def compute_shard(args, shard, folder):
    import numpy as np

    from spin_fairseq.extraction.shards import rows_of_shard
    from spin_fairseq.speech.folder import manifest_of

    args.say(settle())
    files, utterances, model = [], 0, _load(args)
    for name in args.files:
        manifest = manifest_of(name)
        begin, end = rows_of_shard(manifest.sizes, shard)
        if begin < end:
            files.append(folder.file(shard, f".{Path(name).stem}.jsonl"))
            _dump_units(args, model, manifest.select(np.arange(begin, end)), files[-1])
            utterances += end - begin
    return files, {"utterances": utterances}


def merge_shards(args, folder, records):
    from spin_fairseq.errors import ConfigError
    from spin_fairseq.extraction.shards import merge_dumps
    from spin_fairseq.files import write_text
    from spin_fairseq.speech.folder import manifest_of

    if args.overwrite:
        _remove_pieces(Path(args.out))
        args.overwrite = False  # the units that are joined here are kept
    for name in args.files:
        units = _units_file(args, name)
        merge_dumps(folder.files(records, f".{Path(name).stem}.jsonl"), units)
        write_text(units.with_suffix(".source"), _source(args, manifest_of(name)), ConfigError)
    return run(args)
