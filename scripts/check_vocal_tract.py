#!/usr/bin/env python3
"""Check the estimate of vocal tract lengths: what moves it, and what must not.

    python scripts/check_vocal_tract.py SPEECH/train.tsv --sexes SPEECH/SPEAKERS.TXT
    python scripts/check_vocal_tract.py examples/demo/natural/dev --sexes examples/demo/natural/SPEAKERS.TXT --files 3

prints, in per cent of the length: the distance of the sexes and the spread within one; how far single files of one speaker are
apart; and how much farther than it should the estimate moves when the same speech is changed by this package: in its formants
by a known ratio (it should move by as much), in its pitch, and by the recipe's equaliser (it should stay). A folder instead of a
manifest is read as LibriSpeech is laid out.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spin_fairseq.evaluation.corpus import load_corpus  # noqa: E402
from spin_fairseq.perturbation import change_speaker, draw_speaker, equalize, pitch  # noqa: E402
from spin_fairseq.perturbation.waves import as_waves  # noqa: E402
from spin_fairseq.preparation.vocal_tract import relative_length, scores_of_warps  # noqa: E402
from spin_fairseq.speech.audio import SAMPLE_RATE, read_audio  # noqa: E402

LONGEST = 20 * SAMPLE_RATE


def scores_of(wave):
    """(T,) -> how likely each warp is, and how many seconds are voiced."""
    waves = as_waves(wave)
    f0, frames = pitch.f0_contour(waves.samples, waves.lengths, SAMPLE_RATE)
    f0 = f0[0].numpy()
    return scores_of_warps(wave, f0, frames.step), (f0 > 0).sum() * pitch.TIME_STEP


def log_length(waves):
    """Natural logarithm of the length; NaN under a second of voiced speech."""
    scores, seconds = zip(*map(scores_of, waves))
    return np.log(relative_length(sum(scores))) if sum(seconds) >= 1 else np.nan


def changes(rng):
    """{name: (function of a wave, how far the logarithm should move)}"""
    draw = draw_speaker(rng)
    formants, pitches = (0.8, 0.9, 1.1, 1.25), (0.7, 1.4)
    return {
        **{f"formants x {r}": (lambda w, r=r: change_speaker(w, SAMPLE_RATE, formant_ratio=r), -np.log(r)) for r in formants},
        **{f"pitch x {r}": (lambda w, r=r: change_speaker(w, SAMPLE_RATE, pitch_ratio=r), 0.0) for r in pitches},
        "equaliser": (lambda w: equalize(w, SAMPLE_RATE, gains_db=draw.gains_db, q=draw.q), 0.0),
    }  # fmt: skip


def sexes_of(path):
    """SPEAKERS.TXT -> {speaker: F or M}"""
    rows = [line.split("|") for line in path.read_text().splitlines() if "|" in line and not line.startswith(";")]
    return {row[0].strip(): row[1].strip() for row in rows}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", type=Path, metavar="MANIFEST_OR_FOLDER")
    parser.add_argument("--sexes", type=Path, metavar="SPEAKERS.TXT")
    parser.add_argument("--files", type=int, default=1, help="of a speaker, for an estimate (default 1)")
    parser.add_argument("--changed", type=int, default=30, help="speakers whose speech is changed (default 30)")
    args = parser.parse_args(argv)
    corpus, files = load_corpus(args.corpora), {}
    for index, speaker in enumerate(corpus.speakers):
        files.setdefault(speaker, []).append(corpus.path(index))
    waves = {name: [read_audio(path)[:LONGEST] for path in paths[: args.files]] for name, paths in files.items()}
    lengths = {name: log_length(of_speaker) for name, of_speaker in waves.items()}
    known = {name: length for name, length in lengths.items() if np.isfinite(length)}
    print(f"{len(known)} of {len(files)} speakers, {args.files} files of each at most, of 20 s at most")
    if args.sexes:
        sexes = sexes_of(args.sexes)
        women, men = (np.array([length for name, length in known.items() if sexes.get(name) == sex]) for sex in "FM")
        print(f"men over women: {np.exp(men.mean() - women.mean()):.3f} ({len(men)} and {len(women)})")
        print(f"within a sex: standard deviation {100 * men.std():.1f} % (men), {100 * women.std():.1f} % (women)")
    single = [
        [log_length([read_audio(path)[:LONGEST]]) for path in paths[:6]] for paths in files.values() if len(paths) > 1
    ]
    spread = [np.nanvar(of_speaker, ddof=1) for of_speaker in single if np.isfinite(of_speaker).sum() > 1]
    if spread:
        print(f"files of one speaker: standard deviation {100 * np.mean(spread) ** 0.5:.1f} % ({len(spread)} speakers)")
    rng = np.random.default_rng(0)
    chosen = [list(known)[i] for i in rng.permutation(len(known))[: args.changed]]
    errors = {}
    for name in chosen:
        for change, (function, wanted) in changes(rng).items():
            moved = log_length([np.asarray(function(wave)) for wave in waves[name]]) - known[name]
            errors.setdefault(change, []).append(100 * (moved - wanted))
    for change, values in errors.items():
        values = np.array(values)
        median, largest = np.nanmedian(np.abs(values)), np.nanmax(np.abs(values))
        unknown = f", not known {np.isnan(values).sum()}" if np.isnan(values).any() else ""
        print(
            f"{change}: off by {np.nanmean(values):+.1f} % in the mean, {median:.1f} % in the median of sizes, {largest:.1f} % at most{unknown}"
        )


if __name__ == "__main__":
    main()
