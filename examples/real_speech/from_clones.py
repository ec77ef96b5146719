#!/usr/bin/env python3
"""Human speech for compare.py, out of clones of public repositories that carry pieces of LibriSpeech (CC BY 4.0).

    git clone https://github.com/resemble-ai/Resemblyzer
    git clone https://github.com/philipperemy/deep-speaker
    python examples/real_speech/from_clones.py --resemblyzer Resemblyzer --deep-speaker deep-speaker --out SPEECH

SPEECH is then shaped like LibriSpeech: train has one utterance a speaker of train-clean-100 (of Resemblyzer; --deep-speaker, which
may be left out, adds a few minutes of speakers 19, 26 and 27), dev the utterances of test-other that phones/dev.tsv beside
this script has labels for. Audio is linked, or copied with --copy. What is there already stays.

The labels, one for each 10 ms, are by forced alignment with pocketsphinx; 63 % of onsets are within 20 ms.
"""

import argparse
import shutil
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
PHONES, SPEAKERS = HERE / "phones" / "dev.tsv", HERE / "SPEAKERS.TXT"
TRAIN, DEV = Path("audio_data/librispeech_train-clean-100"), Path("audio_data/librispeech_test-other")
SAMPLES = Path("audio/LibriSpeechSamples/train-clean-100")


def audio_of(clone, folder, option):
    """The FLAC files below a folder of a clone, sorted; stops where there are none."""
    found = sorted((clone / folder).rglob("*.flac"))
    if not found:
        raise SystemExit(
            f"error: {clone / folder}: no FLAC files there; {option} wants a whole clone of the repository"
        )
    return found


def place(files, target, copy):
    """Put files at target/SPEAKER/CHAPTER/NAME, by their names SPEAKER-CHAPTER-NNNN.flac. -> {speaker: how many}."""
    count = defaultdict(int)
    for file in files:
        speaker, chapter, _ = file.stem.split("-")
        path = target / speaker / chapter / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            shutil.copy(file, path) if copy else path.symlink_to(file.resolve())
        count[speaker] += 1
    return count


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/real_speech/from_clones.py --resemblyzer CLONE --out SPEECH [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--resemblyzer", type=Path, required=True, metavar="CLONE")
    parser.add_argument("--deep-speaker", type=Path, metavar="CLONE")
    parser.add_argument("--out", type=Path, required=True, metavar="SPEECH")
    parser.add_argument("--copy", action="store_true", help="copy the audio, so that the clones can be removed")
    args = parser.parse_args(argv)

    labelled = {row.split("\t", 1)[0] for row in PHONES.read_text().splitlines()}
    train = audio_of(args.resemblyzer, TRAIN, "--resemblyzer")
    if args.deep_speaker:
        train += audio_of(args.deep_speaker, SAMPLES, "--deep-speaker")
    dev = [file for file in audio_of(args.resemblyzer, DEV, "--resemblyzer") if file.stem in labelled]
    missing = len(labelled) - len(dev)
    if missing:
        print(f"{missing} of {len(labelled)} labelled utterances of dev are not in the clone")
    for split, files in (("train", train), ("dev", dev)):
        count = place(files, args.out / split, args.copy)
        print(f"{split}: {len(files)} utterances of {len(count)} speakers")
    (args.out / "phones").mkdir(parents=True, exist_ok=True)
    shutil.copy(PHONES, args.out / "phones" / "dev.tsv")
    shutil.copy(SPEAKERS, args.out / "SPEAKERS.TXT")


if __name__ == "__main__":
    main()
