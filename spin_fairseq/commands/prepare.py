"""Write manifests for LibriSpeech, or for any folder of audio. Every file is decoded once; broken files are named, listed
in {split}.broken.txt, and left out.

LibriSpeech, and any folder laid out like it, is recognised by SPEAKERS.TXT or by subsets such as dev-clean. It gives
train.tsv (train-clean-100), dev.tsv (dev-clean and dev-other) and a copy of SPEAKERS.TXT. With forced alignments of the
Montreal Forced Aligner (one .TextGrid per utterance, anywhere below a folder), --phones also writes phone labels into
OUT/phones; utterances that could not be aligned are removed from dev.tsv.

From any other folder, the 16 kHz mono files are taken. --convert-to first converts files of any kind that soundfile, sox
or ffmpeg can read; finished conversions survive an interruption. --dev-fraction puts a part of the files into dev.tsv; the
same --seed always chooses the same files. The output ends with the speakers and their minutes: check that they are right.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .outputs import refuse_to_replace
from .parser import UsageError
from .values import channel, fraction, split_name

EXAMPLES = (
    "spin-fairseq prepare LibriSpeech --out data/librispeech",
    "spin-fairseq prepare LibriSpeech --out data/librispeech --phones alignments",
    "spin-fairseq prepare LibriSpeech --out data/ls960 --train train-clean-100 train-clean-360 train-other-500 --subsets test test-clean",
    "spin-fairseq prepare my_audio --out data/mine",
    "spin-fairseq prepare my_audio more_audio --out data/mine --convert-to my_audio_16k --dev-fraction 0.02",
    "spin-fairseq prepare my_audio --out data/mine --speaker-from top --dev-fraction 0.1 --dev-by speaker",
    r"spin-fairseq prepare my_audio --out data/mine --speaker-from 'session\d+/([^/_]+)_'",
)
KEPT = "finished conversions and manifests are kept"
AGAIN = "with --overwrite"
FOR_LIBRISPEECH, FOR_FOLDERS = ("train", "dev", "subsets", "phones"), (
    "split", "convert_to", "channel", "speaker_from", "dev_fraction", "dev_by", "dev_split",
)  # fmt: skip


def add_arguments(parser):
    parser.add_argument(
        "folders",
        nargs="+",
        metavar="FOLDER",
        help="folder of LibriSpeech, or of audio files; subfolders are searched too",
    )
    parser.add_argument("--out", required=True, metavar="DATA", help="folder for the manifests: the later task.data")
    parser.add_argument(
        "--librispeech",
        action=argparse.BooleanOptionalAction,
        help="treat the folder as LibriSpeech, or as any folder (default: detected)",
    )
    parser.add_workers()
    parser.add_shards()
    parser.add_overwrite("replace manifests that are there")
    tree = parser.add_argument_group("LibriSpeech")
    tree.add_argument("--train", nargs="+", metavar="SUBSET", help="subsets of train.tsv (default train-clean-100)")
    tree.add_argument("--dev", nargs="+", metavar="SUBSET", help="subsets of dev.tsv (default dev-clean dev-other)")
    tree.add_argument(
        "--subsets", nargs="+", action="append", metavar=("NAME", "SUBSET"), help="one more manifest, of these subsets"
    )
    tree.add_argument(
        "--phones", metavar="FOLDER", help="folder of .TextGrid alignments, from which phone labels are made"
    )
    other = parser.add_argument_group("any other folder")
    other.add_argument("--split", type=split_name, metavar="NAME", help="name of the manifest (default train)")
    other.add_argument("--convert-to", metavar="FOLDER", help="where to put 16 kHz mono FLAC copies of all files")
    other.add_argument("--channel", type=channel, metavar="C", help="left, right, 1, 2 ...: which channel of multichannel files is "
                       "converted (default: their mean)")  # fmt: skip
    other.add_argument("--speaker-from", metavar="RULE", help="stem: the part of a file's name before the first - (default); "
                       "folder: the folder that holds the file; top: the first folder below FOLDER; none: unknown, one speaker for "
                       "all; or a regular expression with one group, which matches the speaker in the path below FOLDER")  # fmt: skip
    other.add_argument(
        "--dev-fraction",
        type=fraction,
        metavar="F",
        help="fraction of the files, or of the speakers' audio, that goes to dev.tsv, such as 0.05",
    )
    other.add_argument(
        "--dev-by",
        choices=("file", "speaker"),
        help="divide by file, or by speaker: no speaker is in both splits (default file)",
    )
    other.add_argument("--dev-split", type=split_name, metavar="NAME", help="name of the dev manifest (default dev)")
    parser.add_seed("the choice for dev.tsv")


def run(args):
    from spin_fairseq.preparation.manifests import check

    listing, write = _plan(args)
    args.say(*write(check(listing, jobs=args.workers, channel=args.channel)))


def _plan(args):
    """-> the files that there are, and what makes manifests of them: a function of what was found in each."""
    from spin_fairseq.preparation.manifests import is_librispeech

    tree = args.librispeech
    if tree is None:
        tree = len(args.folders) == 1 and is_librispeech(args.folders[0])
    if tree and len(args.folders) > 1:
        raise UsageError("--librispeech takes one folder")
    for option in FOR_FOLDERS if tree else FOR_LIBRISPEECH:
        if getattr(args, option) is not None:
            kind, remedy = (
                ("LibriSpeech", "--no-librispeech takes it as any folder")
                if tree
                else ("any folder", "--librispeech takes it as LibriSpeech")
            )
            raise UsageError(
                f"--{option.replace('_', '-')} does not go with {kind}, as which {args.folders[0]} is read; {remedy}"
            )
    if args.channel is not None and args.convert_to is None:
        raise UsageError("--channel is for --convert-to, which is not given")
    return _librispeech(args) if tree else _folders(args)


def _librispeech(args):
    from spin_fairseq.preparation.alignments import write_phone_labels
    from spin_fairseq.preparation.manifests import list_librispeech, write_librispeech

    splits = {"train": args.train or ["train-clean-100"], "dev": args.dev or ["dev-clean", "dev-other"]}
    for name, *subsets in args.subsets or []:
        splits[name] = subsets or [name]
    _refuse(args, splits)
    listing = list_librispeech(args.folders[0], splits)

    def write(checked):
        report = write_librispeech(listing, args.out, checked)
        return report + (
            write_phone_labels(args.phones, args.out, list(splits), jobs=args.workers) if args.phones else []
        )

    return listing, write


def _folders(args):
    from functools import partial

    from spin_fairseq.preparation.manifests import list_folders, write_folders

    split, speaker_from = args.split or "train", args.speaker_from or "stem"
    dev_split = (args.dev_split or "dev") if args.dev_fraction else None
    _refuse(args, [split, *([dev_split] if dev_split else [])])
    listing = list_folders(
        args.folders, split, dev_split=dev_split, speaker_from=speaker_from, convert_to=args.convert_to
    )
    return listing, partial(
        write_folders, listing, args.out, folders=args.folders, speaker_from=speaker_from, dev_split=dev_split or "dev",
        dev_fraction=args.dev_fraction or 0.0, dev_by=args.dev_by or "file", seed=args.seed,
    )  # fmt: skip


def _refuse(args, splits):
    refuse_to_replace([Path(args.out) / f"{split}.tsv" for split in splits], args.overwrite)


# --- several machines: see `sharding` -----------------------------------------------------------------------------


def shard_inputs(args):
    from spin_fairseq.fingerprints import digest_of

    return digest_of([_plan(args)[0], args.channel])


def compute_shard(args, shard, folder):
    from spin_fairseq.preparation.manifests import check, write_checked

    checked = check(_plan(args)[0], jobs=args.workers, channel=args.channel, shard=shard)
    file = folder.file(shard, ".checked.json")
    write_checked(file, checked)
    return [file], {}


def merge_shards(args, folder, records):
    from spin_fairseq.preparation.manifests import read_checked

    listing, write = _plan(args)
    args.say(*write(read_checked(listing, folder.files(records, ".checked.json"))))
    return 0
