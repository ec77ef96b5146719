#!/usr/bin/env python3
"""Units in a stream beside those of the whole file: how many agree, after what latency, and how long it takes.

    python scripts/benchmark_streaming.py outputs/demo/checkpoint_last.pt outputs/demo/dev.tsv --out outputs/streaming
    python scripts/benchmark_streaming.py --base-size --look-ahead-ms 400
    python scripts/benchmark_streaming.py outputs/demo/checkpoint_last.pt outputs/demo/dev.tsv --minutes 10

Agreement is the fraction of frames with the unit of the whole file. Three columns differ in the statistics that the norms
go by: those of what has been heard so far, as StreamingSpin does by itself; those of the last seconds; and those of the
whole file, which no stream can know: the rest of the difference is then of attention and positions. "edits" is the edit
distance of the units without repeats, for each unit of the whole file. Latency is that of the first frame of a
chunk, without computing; the mean frame waits half a chunk less. The real-time factor is CPU seconds of one thread
for each second of audio: below 1 a core keeps up.

--base-size: a HuBERT Base with random weights and noise for audio, for the real-time factor alone.
--minutes N: one stream of N minutes, the audio again and again, in pieces of 20 ms: the process's memory behind each minute.
--out NAME writes NAME.md and NAME.png.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np
import torch

from measuring.process_memory import status
from spin_fairseq.checkpoints import load_spin
from spin_fairseq.evaluation.metrics.robustness import edit_distance
from spin_fairseq.extraction.dumping import runs
from spin_fairseq.extraction.streaming import StreamingSpin
from spin_fairseq.speech.audio import SAMPLE_RATE, read_utterance
from spin_fairseq.speech.folder import manifest_of
from spin_fairseq.spin_model import Spin

BASE = {
    "kind": "hubert", "normalize": False, "sample_rate": SAMPLE_RATE, "label_rate": 50.0,
    "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
}  # fmt: skip
PIECE = 320  # samples that are pushed at a time: 20 ms


def recordings(audio, joined):
    """Waves of a manifest or folder, (T,) float32; so many neighbours are joined to one."""
    manifest = manifest_of(audio)
    waves = [read_utterance(manifest, index) for index in range(len(manifest))]
    return [np.concatenate(waves[first : first + joined]) for first in range(0, len(waves), joined)]


def streamed(model, wave, **settings):
    """-> units, and CPU seconds."""
    stream = StreamingSpin(model, **settings)
    begin = time.process_time()
    found = [stream.push(wave[first : first + PIECE]).units for first in range(0, len(wave), PIECE)]
    found.append(stream.flush().units)
    return torch.cat(found), time.process_time() - begin


def row(model, waves, whole, last_ms, **settings):
    """One line of the table, as a dictionary. whole: units of each wave, or None: time alone is measured."""
    found = {"heard": [streamed(model, wave, **settings) for wave in waves]}
    seconds = sum(map(len, waves)) / SAMPLE_RATE
    line = {
        **settings,
        "latency": StreamingSpin(model, **settings).latency_ms,
        "real_time_factor": sum(cpu for _, cpu in found["heard"]) / seconds,
    }
    if whole is None:
        return line
    found["last"] = [streamed(model, wave, **settings, statistics_ms=last_ms) for wave in waves]
    statistics = [model.encoder.statistics(torch.from_numpy(wave)[None]) for wave in waves]
    found["whole"] = [streamed(model, wave, **settings, statistics=s) for wave, s in zip(waves, statistics)]
    for name, each in found.items():
        same = sum(int((units == expected).sum()) for (units, _), expected in zip(each, whole))
        line[name] = same / sum(map(len, whole))
    pairs = [(runs(units)[0], runs(expected)[0]) for (units, _), expected in zip(found["heard"], whole)]
    line["edits"] = sum(edit_distance(a, b) for a, b in pairs) / sum(len(b) for _, b in pairs)
    return line


def long_stream(model, wave, **settings):
    """Push it in pieces of 20 ms, and print the memory behind each minute, and the number of frames."""
    stream, frames = StreamingSpin(model, **settings), 0
    for first in range(0, len(wave), PIECE):
        frames += len(stream.push(wave[first : first + PIECE]))
        if (first + PIECE) % (60 * SAMPLE_RATE) == 0:
            print(f"{(first + PIECE) // (60 * SAMPLE_RATE)} min  {status('VmRSS') / 2**20:.1f} MB", flush=True)
    frames += len(stream.flush())
    print(
        f"{frames} frames; the whole file has {model.encoder.output_lengths(len(wave))}; {status('VmRSS') / 2**20:.1f} MB"
    )


def table(lines, last_ms):
    """Markdown."""
    heads = {
        "chunk_ms": "chunk, ms", "look_ahead_ms": "look-ahead, ms", "left_context_ms": "left context, ms",
        "latency": "latency, ms", "heard": "agreement", "last": f"statistics of {last_ms / 1000:g} s",
        "whole": "statistics of the whole file", "edits": "edits", "real_time_factor": "real-time factor",
    }  # fmt: skip
    columns = [name for name in heads if name in lines[0]]
    forms = dict.fromkeys(("chunk_ms", "look_ahead_ms", "left_context_ms", "latency"), "{:.0f}")
    rows = [[heads[name] for name in columns], ["---"] * len(columns)]
    rows += [[forms.get(name, "{:.3f}").format(line[name]) for name in columns] for line in lines]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in rows)


def plot(lines, path):
    """Agreement against latency, a curve for each chunk length."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for (chunk, left), group in itertools.groupby(lines, lambda line: (line["chunk_ms"], line["left_context_ms"])):
        group = list(group)
        latency = [line["latency"] for line in group]
        name = f"chunk {chunk:g} ms, left context {left:g} ms"
        (curve,) = axes.plot(latency, [line["heard"] for line in group], marker="o", label=name)
        axes.plot(latency, [line["whole"] for line in group], linestyle=":", color=curve.get_color())
    axes.set_xlabel("latency of a chunk's first frame, ms")
    axes.set_ylabel("fraction of frames with the whole file's unit")
    axes.set_title("dotted: with the statistics of the whole file", fontsize="small")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/benchmark_streaming.py CHECKPOINT AUDIO [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", nargs="?", help="of Spin")
    parser.add_argument("audio", nargs="?", help="manifest or folder")
    parser.add_argument("--chunk-ms", type=float, nargs="+", default=[400], metavar="MS", help="default 400")
    parser.add_argument("--look-ahead-ms", type=float, nargs="+", default=[0, 100, 200, 400, 800, 1600], metavar="MS",
                        help="default 0 100 200 400 800 1600")  # fmt: skip
    parser.add_argument("--left-context-ms", type=float, nargs="+", default=[2000], metavar="MS", help="default 2000")
    parser.add_argument("--statistics-ms", type=float, default=5000, metavar="MS", help="of the column (default 5000)")
    parser.add_argument("--join", type=int, default=1, metavar="N", help="join N files to one recording (default 1)")
    parser.add_argument("--base-size", action="store_true", help="random weights of Base size; time alone")
    parser.add_argument("--seconds", type=float, default=20.0, help="of noise for --base-size (default 20)")
    parser.add_argument(
        "--minutes", type=float, metavar="N", help="one long stream and its memory, by the first of each setting"
    )
    parser.add_argument("--out", type=Path, metavar="NAME", help="write NAME.md and NAME.png")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.base_size:
        torch.manual_seed(0)
        model = Spin.from_config({"encoder": BASE, "freeze": "", "head_dims": [256], "codebook_sizes": [256]}).eval()
        noise = 0.1 * np.random.default_rng(0).standard_normal(int(args.seconds * SAMPLE_RATE))
        waves, whole = [noise.astype(np.float32)], None
    elif args.checkpoint and args.audio:
        model, waves = load_spin(args.checkpoint), recordings(args.audio, args.join)
        if args.minutes:
            wave = np.resize(np.concatenate(waves), int(args.minutes * 60 * SAMPLE_RATE))
            first = {name: getattr(args, name)[0] for name in ("chunk_ms", "look_ahead_ms", "left_context_ms")}
            return long_stream(model, wave, **first)
        with torch.no_grad():
            whole = [model.extract_units(torch.from_numpy(wave)[None])[0] for wave in waves]
    else:
        parser.error("CHECKPOINT and AUDIO, or --base-size, are needed")
    lines = []
    for chunk, left, ahead in itertools.product(args.chunk_ms, args.left_context_ms, args.look_ahead_ms):
        settings = {"chunk_ms": chunk, "look_ahead_ms": ahead, "left_context_ms": left}
        lines.append(row(model, waves, whole, args.statistics_ms, **settings))
        print(f"chunk {chunk:g} ms, look-ahead {ahead:g} ms: done", file=sys.stderr, flush=True)
    text = table(lines, args.statistics_ms)
    print(text, end="")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.with_suffix(".md").write_text(text)
        if whole is not None:
            plot(lines, args.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
