#!/usr/bin/env python3
"""Select a few minutes of speech from a LibriSpeech-shaped folder.

    python examples/demo/select_data.py --speech SPEECH --out examples/demo/data

SPEECH holds SPEAKERS.TXT, phones/{train,dev}.tsv and {train,dev}/SPEAKER/CHAPTER/*.flac. Every speaker of a
split is kept, all about equally long: of each speaker, the set of utterances whose summed length comes nearest
to --train-seconds (or --dev-seconds) is taken. There is no random choice: the same folder gives the same subset.
"""

import argparse
import itertools
from collections import defaultdict
from pathlib import Path

import soundfile

SHORTEST = 40_000  # samples; Spin's recipe drops what is shorter than 2.5 s
LONGEST = 128_000  # samples; 8 s
UTTERANCES = {"train": (3, 4, 5), "dev": (2, 3)}  # per speaker: the numbers to choose from


def nearest_set(lengths, seconds, sizes, candidates=24):
    """The utterances (of {name: samples}) whose lengths sum up nearest to `seconds`; ties go to the first in order."""
    target = round(seconds * 16_000)
    fits = sorted(name for name, samples in lengths.items() if SHORTEST <= samples <= LONGEST)[:candidates]
    sets = itertools.chain.from_iterable(itertools.combinations(fits, size) for size in sizes)
    return min(sets, key=lambda names: (abs(sum(lengths[name] for name in names) - target), names))


def select_split(speech, out, split, seconds):
    """Copy one split's subset, as FLAC of the highest compression, with its phone labels. Returns {speaker: samples}."""
    paths = {path.stem: path for path in sorted((speech / split).rglob("*.flac"))}
    lengths = defaultdict(dict)
    for name, path in paths.items():
        lengths[name.split("-")[0]][name] = soundfile.info(path).frames

    chosen, minutes = [], {}
    for speaker, of_speaker in sorted(lengths.items()):
        names = nearest_set(of_speaker, seconds, UTTERANCES[split])
        chosen += names
        minutes[speaker] = sum(of_speaker[name] for name in names)

    for name in chosen:
        target = out / paths[name].relative_to(speech)
        target.parent.mkdir(parents=True, exist_ok=True)
        wave, rate = soundfile.read(paths[name], dtype="int16")
        soundfile.write(target, wave, rate, subtype="PCM_16", compression_level=1.0)

    rows = (speech / "phones" / f"{split}.tsv").read_text().splitlines(keepends=True)
    (out / "phones").mkdir(parents=True, exist_ok=True)
    (out / "phones" / f"{split}.tsv").write_text("".join(row for row in rows if row.split("\t")[0] in set(chosen)))
    return minutes


def write_speakers(speech, out, samples):
    """SPEAKERS.TXT in LibriSpeech's format, with the subset's minutes."""
    with open(speech / "SPEAKERS.TXT") as source, open(out / "SPEAKERS.TXT", "w") as target:
        for row in source:
            fields = [field.strip() for field in row.split("|")]
            if not row.startswith(";"):
                kept = samples.get(fields[2], {}).get(fields[0])
                if kept is None:
                    continue
                fields[3] = f"{kept / 16_000 / 60:.2f}"
            target.write(" | ".join(fields) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="python examples/demo/select_data.py --speech SPEECH --out examples/demo/data",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--speech", type=Path, required=True, help="LibriSpeech-shaped folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train-seconds", type=float, default=14.5, help="of each speaker")
    parser.add_argument("--dev-seconds", type=float, default=7.0, help="of each speaker")
    args = parser.parse_args()

    seconds = {"train": args.train_seconds, "dev": args.dev_seconds}
    samples = {split: select_split(args.speech, args.out, split, seconds[split]) for split in seconds}
    write_speakers(args.speech, args.out, samples)
    for split, of_split in samples.items():
        size = sum(path.stat().st_size for path in (args.out / split).rglob("*.flac"))
        lengths = [n / 16_000 for n in of_split.values()]
        print(
            f"{split}: {len(lengths)} speakers, {sum(lengths) / 60:.2f} min, {size / 1e6:.2f} MB; "
            f"{min(lengths):.1f} to {max(lengths):.1f} s a speaker"
        )


if __name__ == "__main__":
    main()
