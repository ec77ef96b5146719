"""Speech at other speeds for the pre-training of a base, with the labels of the original."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import soundfile
from scipy.signal import resample_poly

from speech_features import SAMPLE_RATE, read_manifest, read_wave

# Copies are cut to a multiple of so many samples: a GPU plans its kernels anew for each shape of a batch.
COPY_STEP = SAMPLE_RATE // 2


def write_copies(work, speeds):
    """WORK/copies: fairseq's manifests with each file of train at each of the speeds, which are written as WAV; valid as it is."""
    folder = work / "copies"
    folder.mkdir(exist_ok=True)
    paths = read_manifest(work / "train.tsv")
    for speed in speeds:
        (folder / f"{speed}").mkdir(exist_ok=True)

    def copies_of(row):
        wave, lines = read_wave(paths[row]), []
        for speed in speeds:
            ratio = Fraction(str(speed))
            copy = resample_poly(wave, ratio.denominator, ratio.numerator)
            copy = copy[: max(len(copy) // COPY_STEP, 1) * COPY_STEP]
            soundfile.write(folder / f"{speed}" / f"{row}.wav", copy, SAMPLE_RATE)
            lines.append(f"{speed}/{row}.wav\t{len(copy)}\n")
        return lines

    with ThreadPoolExecutor() as pool:
        lines = list(pool.map(copies_of, range(len(paths))))
    rows = [line for of_speed in zip(*lines) for line in of_speed]
    shutil.copy(work / "valid.tsv", folder)
    (folder / "train.tsv").write_text("".join([f"{folder}\n", *rows]))


def write_labels_of_copies(labels, speeds, label_rate, folder):
    """The labels of what write_copies wrote, made of those of the originals (a folder of write_labels)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("valid.km", "dict.km.txt"):
        shutil.copy(labels / name, folder)
    rows = [row.split() for row in (labels / "train.km").read_text().splitlines()]
    jobs = [(row, speed) for speed in speeds for row in rows]
    _, *copies = (folder.parent / "train.tsv").read_text().splitlines()
    lengths = [int(copy.split("\t")[1]) * label_rate // SAMPLE_RATE for copy in copies]
    if len(jobs) != len(lengths):
        raise SystemExit(f"{labels} has labels of {len(rows)} files for {len(lengths)} copies at {len(speeds)} speeds")
    with open(folder / "train.km", "w") as target:
        for (row, speed), length in zip(jobs, lengths):
            target.write(" ".join(labels_at_speed(row, speed)[:length]) + "\n")


def labels_at_speed(labels, speed):
    """The labels of a recording that is played faster (speed > 1) or slower: each frame has that of the same sound."""
    frames = int(len(labels) / speed)
    return [labels[int((frame + 0.5) * speed)] for frame in range(frames)]
