#!/usr/bin/env python3
"""Phone sequences as targets of CTC: the folder that fairseq's own `audio_finetuning` task reads.

    python examples/dcspin/phone_targets.py --data data/librispeech --phones data/librispeech/phones --out data/ctc train dev

For each split it writes to --out the manifest (SPLIT.tsv) and a row of phones an utterance (SPLIT.phn), and the dictionary of
all phones (dict.phn.txt). The phones are those of phone labels (`utterance-id<TAB>label,label,...`, a label for each 10 ms) without
their durations: a run of equal labels is one phone, and silence is left out. Utterances without labels, or of silence alone, are left
out, and counted.
"""

import argparse
import itertools
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from spin_fairseq.errors import PhoneLabelError, SpinError  # noqa: E402
from spin_fairseq.files import write_text  # noqa: E402
from spin_fairseq.speech.manifest import load_manifest  # noqa: E402
from spin_fairseq.speech.phone_labels import load_phone_labels  # noqa: E402

SILENCE = ("SIL", "SP", "SPN", "NSN")


def sequence(labels, silence=SILENCE):
    """["SIL", "AA", "AA", "T"] -> ["AA", "T"]: no repeats, no silence; a silence between two equal phones leaves both."""
    return [label for label, _ in itertools.groupby(labels) if label and label not in silence]


def write_split(data, phones, split, silence, out):
    """Write OUT/SPLIT.tsv and OUT/SPLIT.phn. -> Counter of phones. Raises SpinError."""
    manifest, labels = load_manifest(data, split), load_phone_labels(phones, split)
    rows, sequences = ["/"], []  # paths below the root of the file system, so that any manifest can be written so
    for i in range(len(manifest)):
        name = manifest.utterance_id(i)
        found = sequence([labels.symbols[label] for label in labels[name]], silence) if name in labels else []
        if found:
            rows.append(f"{Path(manifest.path(i)).resolve().relative_to('/')}\t{manifest.sizes[i]}")
            sequences.append(found)
    if not sequences:
        raise PhoneLabelError(
            f"{labels.source}: no phones for any utterance of {manifest.source}; they are of other files"
        )
    write_text(out / f"{split}.tsv", "".join(row + "\n" for row in rows), PhoneLabelError)
    write_text(out / f"{split}.phn", "".join(" ".join(found) + "\n" for found in sequences), PhoneLabelError)
    print(f"{split}: {len(sequences)} utterances; {len(manifest) - len(sequences)} without phones are left out")
    return Counter(itertools.chain.from_iterable(sequences))


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/dcspin/phone_targets.py --data DATA --phones PHONES --out OUT SPLIT ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with SPLIT.tsv")
    parser.add_argument("--phones", type=Path, required=True, help="folder with phone labels, SPLIT.tsv")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--silence", default=",".join(SILENCE), help=f"labels to leave out (default {','.join(SILENCE)})"
    )
    parser.add_argument("splits", nargs="+", metavar="SPLIT", help="such as train dev")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        counts = Counter()
        for split in args.splits:
            counts += write_split(args.data, args.phones, split, args.silence.split(","), args.out)
        dictionary = "".join(f"{phone} {count}\n" for phone, count in counts.most_common())
        write_text(args.out / "dict.phn.txt", dictionary, PhoneLabelError)
    except (SpinError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
