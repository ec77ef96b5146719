#!/usr/bin/env python3
"""How fast the native perturbation is, beside Praat and beside the bare arithmetic that it needs.

    python scripts/benchmark_perturbation.py DATA/dev.tsv
    python scripts/benchmark_perturbation.py DATA/dev.tsv --speaker-pitch SPEAKERS.TXT --utterances 60 --repeats 5
    python scripts/benchmark_perturbation.py DATA/dev.tsv --utterances 18 --seconds 3 8 --busy 4

One thread on one CPU. Both sides go over all utterances in turns, with the same random voices; a figure is the median over
utterances, in milliseconds for a second of audio, a ratio the median of the utterances' ratios. Times are of the CPU: what
other processes take from it does not count (with --clock wall it does), but what they do to caches and memory does. --busy
starts such processes, which copy arrays that no cache holds. The whole path is that from wave to perturbed wave, equaliser
and clip included on both sides. "Floor" is what the FFTs, multiplications, gathers
and additions of that size take when nothing else is done.
"""

import argparse
import os
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.speech.audio import SAMPLE_RATE
from spin_fairseq.errors import ManifestError, SpinError
from measuring.tensor_memory import TensorMemory
from spin_fairseq.perturbation import draw_speaker, equalize, find_pitch_marks, native, pitch, praat
from spin_fairseq.perturbation.draws import stack_draws
from spin_fairseq.perturbation.backends import perturb, perturb_batch
from spin_fairseq.perturbation.equalizer import BANDS
from spin_fairseq.perturbation.grains import plan_row
from spin_fairseq.perturbation.overlap_add import overlap_add_row
from spin_fairseq.perturbation.pitch_marks import PitchMarks, marks_of_row, pad_marks
from spin_fairseq.perturbation.resampling import resample_row, taps_for
from spin_fairseq.perturbation.speaker import _change_batch

BATCH = 16


COPYING = "import numpy as np\na, b = np.ones((2, 1 << 23))\nwhile True: a[:] = b; b *= 0.5; b += a"


CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
clock = CLOCKS["cpu"]


def seconds_of(function):
    start = clock()
    function()
    return clock() - start


@contextmanager
def busy_processes(count, cpus):
    """So many processes that keep these CPUs and the memory busy, while the block runs. cpus: None where none are told."""
    on_all = None if cpus is None else lambda: os.sched_setaffinity(0, cpus)
    running = [subprocess.Popen([sys.executable, "-c", COPYING], preexec_fn=on_all) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def whole_paths(wave, limits, draw, marks):
    """{name: function} of what is compared."""
    sound = praat_sound(wave)
    return {
        "praat, whole path": lambda: perturb(praat.change_speaker, wave, SAMPLE_RATE, limits, draw),
        "praat, pitch and pulses": lambda: praat_analysis(sound, limits),
        "native, cached marks": lambda: perturb(native.change_speaker, wave, SAMPLE_RATE, limits, draw, marks),
        "native, on the fly": lambda: perturb(native.change_speaker, wave, SAMPLE_RATE, limits, draw),
        "native, analysis": lambda: find_marks(wave, limits),
    }


def praat_sound(wave):
    import parselmouth

    return parselmouth.Sound(wave.astype(np.float64), sampling_frequency=SAMPLE_RATE)


def praat_analysis(sound, limits):
    import parselmouth

    contour = sound.to_pitch_ac(time_step=0.8 / limits[0], pitch_floor=limits[0], pitch_ceiling=limits[1])
    parselmouth.praat.call([sound, contour], "To PointProcess (cc)")


def find_marks(wave, limits):
    return find_pitch_marks(wave, SAMPLE_RATE, pitch_floor=limits[0], pitch_ceiling=limits[1])


def stages(wave, limits, draw, marks):
    """{name: function}: the parts of the native engine, each on what the one before it left."""
    source, length = torch.from_numpy(wave), torch.tensor([len(wave)])
    floor, ceiling = (np.array([limit]) for limit in limits)
    tensors = [torch.from_numpy(limit).float() for limit in (floor, ceiling)]
    frames = pitch.cut_frames(source[None], length, SAMPLE_RATE, floor)
    r = pitch.normalised_autocorrelation(frames)
    f0 = pitch.contour_in_range(r, frames, *tensors)
    batch = PitchMarks(marks.times[None], marks.joined[None])
    planned = plan_row(batch, len(wave), SAMPLE_RATE, *draw[:3], draw.seed)
    resampled_length = int(len(wave) / draw.formant_ratio) + 1
    resampled = resample_row(source, draw.formant_ratio, resampled_length)
    changed = overlap_add_row(resampled, planned, draw.formant_ratio, len(wave)).numpy()
    return {
        "analysis: frames at 8 kHz": lambda: pitch.cut_frames(source[None], length, SAMPLE_RATE, floor),
        "analysis: autocorrelation": lambda: pitch.normalised_autocorrelation(frames),
        "analysis: best path": lambda: pitch.contour_in_range(r, frames, *tensors),
        "analysis: marks": lambda: marks_of_row(frames, f0, len(wave), SAMPLE_RATE),
        "synthesis: places of grains": lambda: plan_row(batch, len(wave), SAMPLE_RATE, *draw[:3], draw.seed),
        "synthesis: resampling": lambda: resample_row(source, draw.formant_ratio, resampled_length),
        "synthesis: overlap-add": lambda: overlap_add_row(resampled, planned, draw.formant_ratio, len(wave)),
        "synthesis: equaliser": lambda: equalize(changed, SAMPLE_RATE, gains_db=draw.gains_db, q=draw.q),
        "synthesis: clip": lambda: np.clip(changed, -1, 1),
    }


def floors(wave, draw, limits):
    """{name: function} of the bare arithmetic: its operations on arrays of its size, and nothing else."""
    rate = SAMPLE_RATE / 2
    frames = torch.randn(len(wave) // 160, int(3 / limits[0] * rate))
    size = pitch.next_fast_len(frames.size(1) + int(rate / limits[0]), real=True)
    spectrum = torch.fft.rfft(frames, size)
    taps = taps_for(draw.formant_ratio)
    patches = torch.randn(1024, taps)  # stays in the cache, as the wave around a place does
    coefficients = torch.randn(taps)
    source, places = torch.from_numpy(wave), torch.arange(len(wave))

    def synthesis():
        for _ in range(0, int(len(wave) / draw.formant_ratio), len(patches)):
            torch.mv(patches, coefficients)  # a multiplication and an addition for each tap
        (source[places] + source[places]).mul_(source).add_(source)  # two grains, two windows
        filtered = source
        for _ in range(BANDS):  # five multiplications and additions for each band, were they not recursive
            filtered = filtered * 0.5
            for _ in range(4):
                filtered.add_(source, alpha=0.1)
        filtered.clamp_(-1, 1)

    def analysis():
        torch.fft.rfft(frames, size)
        torch.fft.irfft(spectrum, 2 * size)
        frames * frames

    return {"floor of the analysis": analysis, "floor of the synthesis": synthesis}


def batch_cost(manifest, pitch_of, draws, repeats):
    """Time of 16 utterances of similar length as a batch over their time one by one, and memory on a device."""
    order = np.argsort(manifest.sizes, kind="stable")
    middle = max(0, len(order) // 2 - BATCH // 2)
    rows = order[middle : middle + BATCH]
    waves = [read_audio(manifest.path(i), sample_rate=SAMPLE_RATE) for i in rows]
    limits = [limits_of(pitch_of, manifest, i) for i in rows]
    floor, ceiling = zip(*limits)
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
    lengths = torch.tensor([len(wave) for wave in waves])
    voices = [draws[i % len(draws)] for i in range(len(rows))]

    def together():
        marks = find_pitch_marks(batch, SAMPLE_RATE, pitch_floor=floor, pitch_ceiling=ceiling, lengths=lengths)
        perturb_batch(batch, lengths, SAMPLE_RATE, marks, stack_draws(voices))

    def one_by_one():
        for wave, own, draw in zip(waves, limits, voices):
            perturb(native.change_speaker, wave, SAMPLE_RATE, own, draw)

    together(), one_by_one()
    ratio = np.median([seconds_of(together) / seconds_of(one_by_one) for _ in range(max(3, repeats))])
    marks = pad_marks([find_marks(wave, own) for wave, own in zip(waves, limits)])
    stacked = stack_draws(voices)
    with TensorMemory() as memory:
        _change_batch(batch, lengths, SAMPLE_RATE, marks, stacked.formant_ratio, stacked.pitch_ratio,
                      stacked.range_ratio, stacked.seed)  # fmt: skip
    return ratio, memory.peak / batch.nbytes


def limits_of(pitch_of, manifest, index):
    return pitch_of.range(manifest.speaker(index)) or praat.WIDE_RANGE


def measure(manifest, pitch_of, utterances, repeats):
    rng = np.random.default_rng(1)
    rows = rng.permutation(len(manifest))[:utterances]
    if not len(rows):
        raise ManifestError(f"{manifest.source}: has no utterance of such a length; give other --seconds")
    draws = [draw_speaker(rng) for _ in rows]
    functions, milliseconds = [], []
    for row, draw in zip(rows, draws):
        wave = read_audio(manifest.path(row), sample_rate=SAMPLE_RATE)
        limits = limits_of(pitch_of, manifest, row)
        marks = find_marks(wave, limits)
        functions.append(
            {
                **whole_paths(wave, limits, draw, marks),
                **stages(wave, limits, draw, marks),
                **floors(wave, draw, limits),
            }
        )
        milliseconds.append(1000 * SAMPLE_RATE / len(wave))
    times = {name: np.full(len(rows), np.inf) for name in functions[0]}
    for _ in range(repeats + 1):  # the first round only warms up: a round more can but help
        for name, best in times.items():  # in turns, so that a slow moment meets all
            found = [seconds_of(own[name]) for own in functions]
            np.minimum(best, np.multiply(found, milliseconds), out=best)
    return times, draws


def report(times, ratio, memory):
    """The tables, in Markdown."""

    def median(name):
        return np.median(times[name])

    def ratio_of(slow, quick):
        return np.median(times[slow] / times[quick])

    lines = ["| | ms for a second of audio | seconds of audio a second | |", "|---|---|---|---|"]
    against = {
        "native, cached marks": "praat, whole path",
        "native, on the fly": "praat, whole path",
        "native, analysis": "praat, pitch and pulses",
    }
    for name in ("praat, whole path", "praat, pitch and pulses", *against):
        note = f"{ratio_of(against[name], name):.1f} times as fast as {against[name]}" if name in against else ""
        lines.append(f"| {name} | {median(name):.2f} | {1000 / median(name):.0f} | {note} |")
    for part in ("analysis", "synthesis"):
        names = [name for name in times if name.startswith(f"{part}: ")]
        whole = sum(times[name] for name in names)
        lines += ["", f"| {part} | ms for a second of audio | share |", "|---|---|---|"]
        lines += [
            f"| {name.split(': ')[1]} | {median(name):.3f} | {np.median(times[name] / whole):.0%} |" for name in names
        ]
        floor = f"floor of the {part}"
        lines.append(f"| floor | {median(floor):.3f} | {np.median(times[floor] / whole):.0%} |")
    lines += ["", f"A batch of {BATCH} takes {ratio:.2f} times as long as its utterances one by one;"]
    lines.append(f"changed on a device it needs {memory:.0f} times its own bytes.")
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/benchmark_perturbation.py DATA/dev.tsv [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--speaker-pitch", help="table of pitch ranges (default: 75 to 400 Hz for all)")
    parser.add_argument("--utterances", type=int, default=10**9, help="how many, at random (default all)")
    parser.add_argument(
        "--seconds",
        type=float,
        nargs=2,
        default=(0.0, np.inf),
        metavar=("LOW", "HIGH"),
        help="lengths of the utterances (default: any)",
    )
    parser.add_argument(
        "--busy", type=int, default=0, metavar="N", help="processes that copy memory meanwhile, on all CPUs (default 0)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement; the quickest counts (default 3)")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="cpu", help="wall: what other processes take counts (default cpu)"
    )
    args = parser.parse_args(argv)
    global clock
    clock = CLOCKS[args.clock]
    torch.set_num_threads(1)
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    if cpus:  # Praat starts a thread for each CPU that it sees
        os.sched_setaffinity(0, {min(cpus)})
    warnings.simplefilter("ignore")
    try:
        praat.check_installed()
        manifest = load_manifest(args.manifest.parent, args.manifest.stem)
        pitch_of = load_speaker_pitch(args.speaker_pitch)
        seconds = manifest.sizes / SAMPLE_RATE
        manifest = manifest.select((seconds >= args.seconds[0]) & (seconds <= args.seconds[1]))
        with busy_processes(args.busy, cpus):
            times, draws = measure(manifest, pitch_of, args.utterances, args.repeats)
            print(report(times, *batch_cost(manifest, pitch_of, draws, args.repeats)))
    except SpinError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
