#!/usr/bin/env python3
"""One vowel's spectrum and the f0 contour of its utterance, before and after the native perturbation.

    python scripts/plot_perturbation.py examples/demo/data/dev --speaker-pitch examples/demo/data/SPEAKERS.TXT \\
        --phones examples/demo/data/phones --utterance 1003-10032-0004 --out docs/perturbation.svg

The vowel is the longest of the utterance. Its envelope is that of linear prediction; circles mark F1 to F3 as Praat's
Burg analysis finds them, f0 is by Praat's autocorrelation. Needs praat-parselmouth and matplotlib.
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import freqz

from spin_fairseq.speech.audio import SAMPLE_RATE, read_audio
from spin_fairseq.speech.folder import manifest_of
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.errors import ManifestError, PhoneLabelError, SpinError
from measuring import voice_measures as measures
from spin_fairseq.perturbation import change_speaker, praat

USAGE = "python scripts/plot_perturbation.py AUDIO --phones PHONES --utterance ID --out plot.svg [options]"
POLES = 18  # of the linear prediction: a pair for each kHz, and one more
WINDOW = 0.05  # s, around the middle of the vowel


def longest_vowel(labels):
    """-> (phone, first label, one after the last) of the longest run of one vowel."""
    runs, start = [], 0
    for phone, run in itertools.groupby(labels):
        length = len(list(run))
        if phone in measures.VOWELS:
            runs.append((length, phone, start))
        start += length
    if not runs:
        raise PhoneLabelError("the utterance has no vowel among its phone labels; choose another --utterance")
    length, phone, start = max(runs)
    return phone, start, start + length


def envelope(segment, frequencies):
    """Spectral envelope by linear prediction (autocorrelation method), dB at `frequencies`, Hz."""
    segment = np.append(segment[0], np.diff(segment)) * np.hanning(len(segment))
    r = np.correlate(segment, segment, "full")[len(segment) - 1 :][: POLES + 1]
    r[0] *= 1 + 1e-6
    coefficients = np.append(1.0, -solve_toeplitz(r[:-1], r[1:]))
    gain = np.sqrt(max(coefficients @ r, 1e-12))
    response = freqz(gain, coefficients, frequencies, fs=SAMPLE_RATE)[1]
    return 20 * np.log10(np.abs(response) + 1e-9)


def draw(waves, vowel, seconds, pitch_range, ratios, path):
    """The figure, to `path` (.svg or .png)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "spin", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    frequencies = np.linspace(50, 5500, 400)
    middle = sum(seconds) / 2
    start, end = (round((middle + side * WINDOW) * SAMPLE_RATE) for side in (-0.5, 0.5))
    times = middle + np.arange(-0.01, 0.011, 0.005)
    for (name, wave), color, moved in zip(waves.items(), ("0.45", "C1"), (False, True)):
        formant_ratio, pitch_ratio = (ratios["formant_ratio"], ratios["pitch_ratio"]) if moved else (1.0, 1.0)
        level = envelope(wave[start:end].astype(np.float64), frequencies)
        left.plot(frequencies / 1000, level, color=color, label=name)
        voice = measures.measure(wave, SAMPLE_RATE, pitch_range, times, formant_ratio, pitch_ratio)
        found = np.isfinite(voice.formants).any(axis=1)
        peaks = np.nanmedian(voice.formants[found], axis=1)
        left.plot(peaks / 1000, np.interp(peaks, frequencies, level), "o", color=color, ms=5)
        f0 = np.where(voice.f0 > 0, voice.f0, np.nan)
        right.plot(np.arange(len(f0)) * measures.STEP, f0, color=color, label=name)
    left.set(xlabel="kHz", ylabel="dB", title=f"{vowel}: formants times {ratios['formant_ratio']:g}")
    right.set(
        xlabel="s", ylabel="f0, Hz",
        title=f"f0: median times {ratios['pitch_ratio']:g}, range times {ratios['range_ratio']:g}",
    )  # fmt: skip
    left.legend(frameon=False)
    part = path.with_name(f"{path.name}.part")
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(part, format=path.suffix[1:], metadata=metadata, dpi=110, facecolor="white")
    part.replace(path)


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage=USAGE, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", help="folder of audio or manifest, whose name is that of the phone labels")
    parser.add_argument("--phones", required=True, help="folder with {split}.tsv, a phone for each 10 ms")
    parser.add_argument("--utterance", required=True, help="id: the file's name without suffix")
    parser.add_argument("--speaker-pitch", help="SPEAKERS.TXT, spk2info.dict or a table; default: 75 to 400 Hz")
    parser.add_argument("--out", type=Path, default=Path("perturbation.svg"), help=".svg or .png (default %(default)s)")
    parser.add_argument("--formant-ratio", type=float, default=1.25)
    parser.add_argument("--pitch-ratio", type=float, default=0.7)
    parser.add_argument("--range-ratio", type=float, default=1.4)
    args = parser.parse_args(argv)
    if args.out.suffix not in (".svg", ".png"):
        parser.error(f"--out is {args.out}: choose .svg or .png")
    ratios = {name: getattr(args, name) for name in ("formant_ratio", "pitch_ratio", "range_ratio")}
    try:
        measures.parselmouth_or_error()
        manifest = manifest_of(args.audio)
        found = [i for i in range(len(manifest)) if manifest.utterance_id(i) == args.utterance]
        if not found:
            raise ManifestError(f"{args.audio}: no utterance {args.utterance!r} among its {len(manifest)}")
        pitch_range = load_speaker_pitch(args.speaker_pitch).range(manifest.speaker(found[0])) or praat.WIDE_RANGE
        labels = load_phone_labels(args.phones, Path(args.audio).name.split(".")[0])
        vowel, first, last = longest_vowel([labels.symbols[n] for n in labels[args.utterance]])
        wave = read_audio(manifest.path(found[0]))
        changed = change_speaker(wave, SAMPLE_RATE, pitch_floor=pitch_range[0], pitch_ceiling=pitch_range[1], **ratios)
    except SpinError as error:
        sys.exit(f"error: {error}")
    waves = {"before": wave, "after": np.asarray(changed)}
    draw(waves, vowel, (first * 0.01, last * 0.01), pitch_range, ratios, args.out)


if __name__ == "__main__":
    main()
