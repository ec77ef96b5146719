"""Pack the files of manifests into a few uncompressed archives that are read in place. The example writes
packed/train-00000.zip, train-00001.zip ... and train.tsv, whose rows are

    train-00000.zip:offset:length <TAB> samples <TAB> speaker <TAB> the path that the file had

and the same for dev. Training then takes task.data=packed. Everything else stays as it was: phone labels, pitch ranges
and pitch marks are looked up by the old path. The audio is copied byte for byte; the original files are not touched.

Give an interrupted command again, and it resumes after the last complete archive. fairseq's own scripts can read these
rows too, if the archives are zips and the path of their folder has no colon; they want two columns: cut -f 1,2 dev.tsv
"""

from __future__ import annotations

import glob
from argparse import Namespace
from pathlib import Path

from spin_fairseq.files import remove

from .parser import Parser, UsageError
from .values import size

EXAMPLES = ("spin-fairseq pack data/mine/train.tsv data/mine/dev.tsv --out packed",)
KEPT = "complete archives are kept"
AGAIN = "without --overwrite"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST", help="SPLIT.tsv or SPLIT.json")
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="for archives and manifests: the later task.data"
    )
    parser.add_argument("--format", choices=("zip", "tar"), default="zip", help="of the archives (default zip)")
    parser.add_argument(
        "--shard-size", type=size, default=size("4G"), metavar="SIZE",
        help="largest size of an archive, such as 500M (default 4G)",
    )  # fmt: skip
    parser.add_overwrite("pack everything again, and replace existing archives")


def run(args: Namespace) -> int | None:
    from spin_fairseq.preparation.packing import pack
    from spin_fairseq.progress import ProgressBar
    from spin_fairseq.speech.manifest import manifest_at

    splits = [Path(name).stem for name in args.manifests]
    if len(set(splits)) < len(splits):
        raise UsageError("two of the manifests have the same name, which the packed ones would share")
    for name in args.manifests:
        with ProgressBar(desc=Path(name).stem, unit="B", unit_scale=True) as bar:
            manifest = manifest_at(name)
            if args.overwrite:
                _remove_packed(args.out, manifest)
            packed = pack(manifest, args.out, form=args.format, largest=args.shard_size, progress=bar.update_of)
        args.say(packed)


def _remove_packed(out, manifest):
    """The archives and the manifest of an earlier run for this split; the manifest itself is never one of them."""
    split, folder = manifest.source.stem, Path(out)
    packed = folder / f"{split}.tsv"
    if packed.exists() and manifest.source.exists() and packed.samefile(manifest.source):
        return  # `pack` complains
    remove(
        [
            packed,
            *(
                file
                for form in ("zip", "tar")
                for file in folder.glob(f"{glob.escape(split)}-[0-9][0-9][0-9][0-9][0-9].{form}")
            ),
        ]
    )
