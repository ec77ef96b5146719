#!/usr/bin/env python3
"""The native perturbation beside Praat's "Change gender": the same draws, both measured by Praat's own analysis.

    python scripts/compare_with_praat.py SPEECH/dev SPEECH/real --speaker-pitch SPEECH/SPEAKERS.TXT \\
        --phones SPEECH/phones --out outputs/compare_with_praat --workers 2

Takes folders of audio or manifests (.tsv, .json), and of each speaker the first --utterances. Every utterance goes through
25 draws: five ratios each of formants (1/1.4 to 1.4), pitch (1/2 to 2) and range (1/1.5 to 1.5), so chosen that any two
of a kind meet once. Praat runs twice, with two seeds: how far it is from itself is the yardstick. Where formants move,
its contour comes 11 to 20 ms early; it runs a third time with its contour put in place. Writes to --out:

    comparison.md    the figures, what is asked of each, and both engines' values
    comparison.png   the same to look at
    cases.csv        every utterance and draw

Formants are measured where --phones (a folder with {split}.tsv) says "vowel"; without labels, in voiced frames.
--quick: nine draws of the first two speakers. Needs praat-parselmouth and matplotlib.
"""

import argparse
import csv
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from spin_fairseq.speech.audio import SAMPLE_RATE, read_audio
from spin_fairseq.speech.folder import manifest_of
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.errors import ConfigError, PerturbationError, SpinError
from spin_fairseq.files import whole_file, write_text
from measuring import voice_measures as measures
from measuring.voice_comparison import figures, markdown, plot
from spin_fairseq.perturbation import native, praat
from spin_fairseq.perturbation.draws import (
    LARGEST_FORMANT_RATIO,
    LARGEST_PITCH_RATIO,
    LARGEST_RANGE_RATIO,
    SpeakerDraw,
)
from spin_fairseq.perturbation.equalizer import BANDS

USAGE = "python scripts/compare_with_praat.py SPEECH/dev SPEECH/real --speaker-pitch SPEECH/SPEAKERS.TXT --out FOLDER"
SEEDS = {"praat": 1, "praat_again": 2}


def grid(levels):
    """`levels` squared draws, levels odd: any two of the levels of formants, pitch and range meet once (a Latin square)."""
    exponents = np.linspace(-1, 1, levels)
    middle = levels // 2
    draws = []
    for i in range(levels):
        for j in range(levels):
            k = (i + 2 * j - 2 * middle) % levels  # all three in the middle at once: the draw that changes nothing
            ratios = (
                largest ** float(exponents[level])
                for largest, level in ((LARGEST_FORMANT_RATIO, i), (LARGEST_PITCH_RATIO, j), (LARGEST_RANGE_RATIO, k))
            )
            draws.append(SpeakerDraw(*ratios, gains_db=np.zeros(BANDS), q=np.full(BANDS, 2.0), seed=0))
    return draws


def choose(audio, phones, utterances, speakers=None):
    """-> [(utterance id, speaker, path, labels or None)], the first `utterances` of each speaker."""
    chosen = []
    for source in audio:
        manifest = manifest_of(source)
        split = Path(source).name.split(".")[0]
        labels = load_phone_labels(phones, split) if phones and (Path(phones) / f"{split}.tsv").is_file() else None
        taken = {}
        for i in sorted(range(len(manifest)), key=manifest.path):
            speaker, utterance = manifest.speaker(i), manifest.utterance_id(i)
            taken[speaker] = taken.get(speaker, 0) + 1
            if taken[speaker] <= utterances and (speakers is None or len(taken) <= speakers):
                own = [labels.symbols[n] for n in labels[utterance]] if labels and utterance in labels else None
                chosen.append((utterance, speaker, manifest.path(i), own))
    return chosen


def praat_in_place(wave, sample_rate, pitch_range, draw):
    """As praat.change_speaker, with a contour whose first frame does lie half a step from the start, which is where Praat
    takes it to lie where formants move."""
    parselmouth = measures.parselmouth_or_error()
    floor, ceiling = pitch_range
    sound = parselmouth.Sound(wave.astype(np.float64), sampling_frequency=sample_rate)
    step, fine = 0.8 / floor, 0.2 / floor
    pitch = sound.to_pitch_ac(time_step=fine, pitch_floor=floor, pitch_ceiling=ceiling)
    f0 = pitch.selected_array["frequency"]
    if not f0.any():
        return praat.change_speaker(wave, sample_rate, pitch_range, draw)
    times = step * (np.arange(int(sound.duration / step)) + 0.5)
    nearest = np.round((times - pitch.t1) / fine).astype(int)
    inside = (nearest >= 0) & (nearest < len(f0))
    call = parselmouth.praat.call
    contour = call("Create Matrix", "f0", 0, sound.duration, len(times), step, step / 2, 1, 1, 1, 1, 1, "0")
    contour.values[0] = np.where(inside, f0[nearest.clip(0, len(f0) - 1)], 0.0)
    voiced = f0[f0 > 0]
    range_ratio = praat.safe_range_ratio(draw.range_ratio, voiced)
    parselmouth.praat.run(f"random_initializeWithSeedUnsafelyButPredictably ({draw.seed})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", parselmouth.PraatWarning)
        changed = call(
            [sound, call(contour, "To Pitch")], "Change gender",
            draw.formant_ratio, draw.pitch_ratio * float(np.median(voiced)), range_ratio, 1.0,
        )  # fmt: skip
    return changed.values[0].astype(np.float32)


def compare(wave, sample_rate, pitch_range, labels, draw):
    """One utterance and draw -> a row of numbers. Raises PerturbationError."""
    waves = {
        name: praat.change_speaker(wave, sample_rate, pitch_range, draw._replace(seed=s)) for name, s in SEEDS.items()
    }
    waves["native"] = native.change_speaker(wave, sample_rate, pitch_range, draw)
    waves["in_place"] = waves["praat"]
    if draw.formant_ratio != 1:
        waves["in_place"] = praat_in_place(wave, sample_rate, pitch_range, draw._replace(seed=SEEDS["praat"]))
    f0 = measures.f0_contour(wave, sample_rate, *pitch_range)
    if labels is None:
        times = np.flatnonzero(f0) * measures.STEP + (len(wave) / sample_rate - (len(f0) - 1) * measures.STEP) / 2
    else:
        times = measures.vowel_times(labels, len(wave) / sample_rate)
    ask = partial(measures.measure, sample_rate=sample_rate, pitch_range=pitch_range, vowel_times=times)
    original = ask(wave)
    voices = {
        name: ask(changed, formant_ratio=draw.formant_ratio, pitch_ratio=draw.pitch_ratio)
        for name, changed in waves.items()
    }
    row = {"target_f0": draw.pitch_ratio * measures.median_f0(f0)}
    row["target_f0_alike"] = draw.pitch_ratio * measures.median_f0(original.f0)  # found in the range that outputs are
    for name, voice in voices.items():
        row[f"{name}_f0"] = measures.median_f0(voice.f0)
        row[f"{name}_voiced"] = float(np.mean(voice.f0 > 0))
        for n, ratio in enumerate(measures.formant_ratios(voice, original), 1):
            row[f"{name}_F{n}"] = ratio
        row[f"{name}_level"] = voice.level - original.level
        row[f"{name}_distance"] = measures.log_mel_distance(voice, original)
        if name in ("native", "praat_again"):
            row[f"{name}_spectrum"] = measures.spectrum_distance(voice, voices["praat"])
            row[f"{name}_near"], row[f"{name}_voicing"] = measures.contour_agreement(voice.f0, voices["praat"].f0)
    for name in ("native", "praat", "in_place"):
        contour = voices[name].f0
        asked = measures.asked_contour(original.f0, draw.pitch_ratio, draw.range_ratio, len(contour))
        row[f"{name}_near_asked"] = measures.contour_agreement(contour, asked)[0]
    for name in ("native", "praat"):
        agreement = measures.contour_agreement(voices[name].f0, voices["in_place"].f0)
        row[f"{name}_near_in_place"], row[f"{name}_voicing_in_place"] = agreement
    return row


def compare_utterance(job, draws):
    """-> a row for each draw, and what went wrong, [text]."""
    (utterance, speaker, path, labels), pitch_range = job
    torch.set_num_threads(1)
    wave = read_audio(path)
    rows, failed = [], []
    for draw in draws:
        row = {"utterance": utterance, "speaker": speaker}
        row.update({name: getattr(draw, name) for name in ("formant_ratio", "pitch_ratio", "range_ratio")})
        try:
            rows.append(row | compare(wave, SAMPLE_RATE, pitch_range, labels, draw))
        except PerturbationError as error:
            failed.append(f"{utterance}, ratios {draw[:3]}: {error}")
    return rows, failed


def run(jobs, draws, workers):
    """All jobs, a few at a time -> rows in the jobs' order, and what went wrong."""
    work = partial(compare_utterance, draws=draws)
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            results = list(tqdm(pool.map(work, jobs), total=len(jobs), unit="utterance", mininterval=2))
    else:
        results = [work(job) for job in tqdm(jobs, unit="utterance", mininterval=2)]
    return [row for rows, _ in results for row in rows], [text for _, failed in results for text in failed]


def write_cases(path, rows):
    with whole_file(path, ConfigError) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage=USAGE, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", nargs="+", help="folders of audio, or manifests (.tsv, .json)")
    parser.add_argument(
        "--speaker-pitch",
        nargs="+",
        default=[None],
        metavar="FILE",
        help="SPEAKERS.TXT, spk2info.dict, or speaker<TAB>floor<TAB>ceiling; default: 75 to 400 Hz for all",
    )
    parser.add_argument("--phones", help="folder with {split}.tsv, a phone for each 10 ms")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/compare_with_praat"), help="folder (default %(default)s)"
    )
    parser.add_argument("--utterances", type=int, default=1, help="of each speaker (default 1)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--quick", action="store_true", help="nine draws of the first two speakers")
    args = parser.parse_args(argv)
    try:
        if min(args.utterances, args.workers) < 1:
            raise ConfigError("--utterances and --workers are 1 or more")
        measures.parselmouth_or_error()
        native.check_installed()
        tables = [load_speaker_pitch(path) for path in args.speaker_pitch]
        chosen = choose(args.audio, args.phones, args.utterances, speakers=2 if args.quick else None)
        table_of = {one[1]: next((table for table in tables if one[1] in table), tables[-1]) for one in chosen}
        jobs = [(one, table_of[one[1]].range(one[1]) or praat.WIDE_RANGE) for one in chosen]
        draws = grid(3 if args.quick else 5)
        rows, failed = run(jobs, draws, args.workers)
        if not rows:
            raise ConfigError(f"no case could be compared; the first one: {failed[0] if failed else 'no utterances'}")
    except SpinError as error:
        sys.exit(f"error: {error}")
    args.out.mkdir(parents=True, exist_ok=True)
    found = figures(rows)
    about = f"{len(rows)} cases: {len(jobs)} utterances of {len({job[0][1] for job in jobs})} speakers, {len(draws)} draws each."
    if failed:
        about += f" {len(failed)} cases more failed."
    page = markdown(found, rows, about, f"python scripts/compare_with_praat.py {' '.join(argv or sys.argv[1:])}")
    write_cases(args.out / "cases.csv", rows)
    plot(rows, args.out / "comparison.png")
    write_text(args.out / "comparison.md", page, ConfigError)
    print(page)
    for text in failed:
        print(f"failed: {text}", file=sys.stderr)


if __name__ == "__main__":
    main()
