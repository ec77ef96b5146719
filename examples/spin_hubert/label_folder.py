#!/usr/bin/env python3
"""Units of Spin as targets of HuBERT: the folder that fairseq's own `hubert_pretraining` task reads.

    spin-fairseq units SPIN.pt data/mine/train.tsv --out units/train.km
    spin-fairseq units SPIN.pt data/mine/dev.tsv --out units/dev.km
    python examples/spin_hubert/label_folder.py --data data/mine --units units --clusters 256 --out labels train dev

For each split it writes to --out the manifest with the two columns that the task takes (SPLIT.tsv) and the units (SPLIT.km), and for all of
them the dictionary (dict.km.txt). It compares the utterances of the manifest with SPLIT.ids, which `units` writes, and refuses
units that are not below --clusters.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from spin_fairseq.errors import ManifestError, SpinError  # noqa: E402
from spin_fairseq.files import write_text  # noqa: E402
from spin_fairseq.speech.manifest import load_manifest  # noqa: E402


def write_split(data, units, split, clusters, out):
    """Write OUT/SPLIT.tsv and OUT/SPLIT.km. Raises ManifestError: units of other utterances, or out of range."""
    manifest = load_manifest(data, split)
    found = (units / f"{split}.km").read_text().splitlines()
    ids = (units / f"{split}.ids").read_text(errors="surrogateescape").splitlines()
    wanted = [manifest.utterance_id(i) for i in range(len(manifest))]
    if ids != wanted or len(found) != len(ids):
        raise ManifestError(
            f"{units / split}.km: has units of other utterances than {manifest.source}, or in another order; "
            f"make them of that manifest: spin-fairseq units CHECKPOINT {manifest.source} --out {units / split}.km"
        )
    for name, row in zip(ids, found):
        numbers = row.split()
        if not numbers or not all(number.isdigit() and int(number) < clusters for number in numbers):
            raise ManifestError(
                f"{units / split}.km: the units of {name} are not all numbers of 0 to {clusters - 1}; give --clusters as many "
                "as the codebook has"
            )
    root, *rows = Path(manifest.source).read_text(errors="surrogateescape").splitlines()
    columns = ("\t".join(row.split("\t")[:2]) for row in rows)  # a third, the speaker, stops fairseq
    write_text(out / f"{split}.tsv", "".join(line + "\n" for line in (root, *columns)), ManifestError)
    write_text(out / f"{split}.km", "".join(row + "\n" for row in found), ManifestError)


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/spin_hubert/label_folder.py --data DATA --units UNITS --clusters K --out LABELS SPLIT ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with SPLIT.tsv")
    parser.add_argument("--units", type=Path, required=True, help="folder with SPLIT.km and SPLIT.ids")
    parser.add_argument("--clusters", type=int, required=True, help="prototypes of the codebook that gave the units")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("splits", nargs="+", metavar="SPLIT", help="such as train dev")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        for split in args.splits:
            write_split(args.data, args.units, split, args.clusters, args.out)
        write_text(args.out / "dict.km.txt", "".join(f"{unit} 1\n" for unit in range(args.clusters)), ManifestError)
    except (SpinError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
