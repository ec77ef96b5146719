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
from argparse import Namespace
from typing import TYPE_CHECKING

from .parser import Parser, UsageError
from .values import channel, fraction, split_name

if TYPE_CHECKING:
    from spin_fairseq.shards import ShardedWork

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
FOR_LIBRISPEECH = ("train", "dev", "subsets", "phones")
FOR_FOLDERS = ("split", "convert_to", "channel", "speaker_from", "dev_fraction", "dev_by", "dev_split")


def add_arguments(parser: Parser) -> None:
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of LibriSpeech, or of audio; with its subfolders")
    parser.add_argument("--out", required=True, metavar="DATA", help="folder for the manifests: the later task.data")
    parser.add_argument("--librispeech", action=argparse.BooleanOptionalAction, help="treat the folder as LibriSpeech, or as "
                        "any folder (default: detected)")  # fmt: skip
    parser.add_workers()
    parser.add_shards()
    parser.add_overwrite("replace manifests that are there")
    tree = parser.add_argument_group("LibriSpeech").add_argument
    tree("--train", nargs="+", metavar="SUBSET", help="subsets of train.tsv (default train-clean-100)")
    tree("--dev", nargs="+", metavar="SUBSET", help="subsets of dev.tsv (default dev-clean dev-other)")
    tree(
        "--subsets", nargs="+", action="append", metavar=("NAME", "SUBSET"), help="one more manifest, of these subsets"
    )
    tree("--phones", metavar="FOLDER", help="folder of .TextGrid alignments, from which phone labels are made")
    other = parser.add_argument_group("any other folder").add_argument
    other("--split", type=split_name, metavar="NAME", help="name of the manifest (default train)")
    other("--convert-to", metavar="FOLDER", help="where to put 16 kHz mono FLAC copies of all files")
    other("--channel", type=channel, metavar="C", help="left, right, 1, 2 ...: which channel of multichannel files is "
          "converted (default: their mean)")  # fmt: skip
    other("--speaker-from", metavar="RULE", help="stem: the part of a file's name before the first - (default); "
          "folder: the folder that holds the file; top: the first folder below FOLDER; none: unknown, one speaker for "
          "all; or a regular expression with one group, which matches the speaker in the path below FOLDER")  # fmt: skip
    other("--dev-fraction", type=fraction, metavar="F", help="fraction of the files, or of the speakers' audio, that goes to "
          "dev.tsv, such as 0.05")  # fmt: skip
    other("--dev-by", choices=("file", "speaker"), help="divide by file, or by speaker: no speaker is in both splits "
          "(default file)")  # fmt: skip
    other("--dev-split", type=split_name, metavar="NAME", help="name of the dev manifest (default dev)")
    parser.add_seed("the choice for dev.tsv")


def work(args: Namespace) -> ShardedWork:
    from spin_fairseq.preparation.corpora import folder_preparation, librispeech_preparation
    from spin_fairseq.preparation.manifests import is_librispeech

    tree = args.librispeech
    if tree is None:
        tree = len(args.folders) == 1 and is_librispeech(args.folders[0])
    _check(args, tree)
    common = {"workers": args.workers, "overwrite": args.overwrite, "say": args.say}
    if tree:
        splits = {"train": args.train or ["train-clean-100"], "dev": args.dev or ["dev-clean", "dev-other"]}
        splits.update((name, subsets or [name]) for name, *subsets in args.subsets or [])
        return librispeech_preparation(args.folders[0], args.out, splits, phones=args.phones, **common)
    return folder_preparation(
        args.folders, args.out, split=args.split or "train", speaker_from=args.speaker_from or "stem", seed=args.seed,
        convert_to=args.convert_to, channel=args.channel, dev_split=args.dev_split or "dev",
        dev_fraction=args.dev_fraction or 0.0, dev_by=args.dev_by or "file", **common,
    )  # fmt: skip


def run(args: Namespace) -> int | None:
    return work(args).run()


def _check(args, tree):
    """Raises UsageError where an option is of the other kind of folder."""
    if tree and len(args.folders) > 1:
        raise UsageError("--librispeech takes one folder")
    kind, remedy = (
        ("LibriSpeech", "--no-librispeech takes it as any folder")
        if tree
        else ("any folder", "--librispeech takes it as LibriSpeech")
    )
    for option in FOR_FOLDERS if tree else FOR_LIBRISPEECH:
        if getattr(args, option) is not None:
            option = option.replace("_", "-")
            raise UsageError(f"--{option} does not go with {kind}, as which {args.folders[0]} is read; {remedy}")
    if args.channel is not None and args.convert_to is None:
        raise UsageError("--channel is for --convert-to, which is not given")
