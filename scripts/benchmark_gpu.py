#!/usr/bin/env python3
"""What a GPU makes of training and extraction, in under eight minutes: a table, and the same as JSON. Both grow part by part.

    python scripts/benchmark_gpu.py --out outputs/benchmark_gpu.json
    python scripts/benchmark_gpu.py --precisions fp16 bf16 amp --encoder wavlm --codebook 2048
    python scripts/benchmark_gpu.py --device cpu --small                     a tiny model, to try the script itself

Speech is made up, and encoders of Base size have random weights, so nothing has to be fetched. Needed beside this package:
fairseq and transformers. Parts, each with the time it took; what fails is named, and the others are measured all the same:

    card        what products of matrices and copies reach
    step        an update of the recipe (256 s in two views) by fairseq's trainer, with the same batch again and again, in each
                of --precisions: seconds, memory, floating-point operations; the floor is their number over the card's measured
                rate, and its products alone, repeated on random numbers
    reference   the same batch as the original code does it: another library's encoder, frozen parts under no_grad, autocast
    recipe      updates with data loading, views from the workers and from the device, pitch marks measured in the course
                of the training and before it; extrapolated to 5,000
    voices      second views of a batch made on the device, beside one core of the host
    units       extraction by a model of Base size, and transformers' encoder on the same batches in the same precision
"""

import argparse
import json
import logging
import platform
import tempfile
import time
import traceback
from pathlib import Path

UPDATES = 5000  # of the recipe
PARTS = ("card", "step", "reference", "recipe", "voices", "units")
DTYPES = {"float32": "float32", "tf32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class Benchmark:
    """What the parts share: options, made-up speech, a base, and trainers."""

    def __init__(self, args, folder):
        from benchmark_training_step import SIZES
        from measuring.recipe import write_base, write_speech

        self.args, self.device = args, args.device
        self.size = "tiny" if args.small else "base"
        if args.small:
            SIZES["tiny"] = dict(
                encoder_layers=3, encoder_embed_dim=64, encoder_ffn_embed_dim=128, encoder_attention_heads=4,
                conv_feature_layers="[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2", conv_pos=32, conv_pos_groups=4,
            )  # fmt: skip
        self.layers = SIZES[self.size]["encoder_layers"]
        self.batch_seconds = 8.0 if args.small else 256.0
        # An epoch has all updates of a part, as that of a large corpus has: each epoch waits for its first batch.
        recordings, seconds, copies = (8, (1.0, 2.0), 1) if args.small else (400, (8.0, 17.0), 2 + args.updates // 18)
        self.speech = write_speech(folder / "speech", recordings, seconds, copies)
        self.base = write_base(folder / "base.pt", args.encoder, self.size)
        self.folder = folder
        self.samples = {}

    def trainer(self, precision, *overrides, workers=0):
        from measuring.recipe import recipe_trainer

        if not workers:  # the thread that fills a buffer would slow down what is timed
            overrides = ("dataset.data_buffer_size=0", *overrides)
        return recipe_trainer(
            self.base, self.speech, precision, kind=self.args.encoder, layers=self.layers, device=self.device,
            batch_seconds=self.batch_seconds, codebook=self.args.codebook, workers=workers,
            overrides=[f"checkpoint.save_dir={self.folder}", *overrides],
        )  # fmt: skip

    def batch(self, trainer):
        """The first batch of an epoch, with --small that of its middle, on the device, as fairseq moves it there."""
        from measuring.fairseq_trainer import batches

        found = list(batches(trainer)) if self.args.small else [next(iter(batches(trainer)))]
        return trainer._prepare_sample(found[len(found) // 2][0])[0]


# --- parts ----------------------------------------------------------------------------------------------------------


def card(bench):
    import torch
    from measuring.rates import bytes_a_second, products_a_second

    small = bench.args.small
    dtypes = {"float32": torch.float32, "bf16": torch.bfloat16}
    if bench.device != "cpu":
        dtypes["fp16"] = torch.float16
    found = {"bytes_a_second": bytes_a_second(bench.device, 16 if small else 1024)}
    for name, dtype in dtypes.items():
        found[f"flops_{name}"] = products_a_second(bench.device, dtype, 256 if small else 8192)
    rows = [(f"products in {name}", f"{found[f'flops_{name}'] / 1e12:,.2f} TFLOP/s") for name in dtypes]
    return found, [*rows, ("copies", f"{found['bytes_a_second'] / 1e9:,.0f} GB/s")]


def step(bench):
    """Updates of one batch, by fairseq's trainer."""
    from measuring.rates import peak_bytes, products_a_second, seconds_each
    from measuring.recipe import AUTOCAST
    from measuring.step_floor import StepFloor

    import torch
    from fairseq.logging import metrics

    found, rows = {}, []
    for precision in bench.args.precisions:
        trainer = bench.trainer(precision)
        bench.samples[precision] = sample = bench.batch(trainer)

        def update(trainer=trainer, sample=sample):
            with metrics.aggregate("train_inner"):
                trainer.train_step([sample])

        with metrics.aggregate("train", new_root=True):
            memory = peak_bytes(update, bench.device)
            seconds = seconds_each(update, bench.device, bench.args.steps)
            floor = StepFloor(update)
            products = seconds_each(floor.run, bench.device, 3)
        rate = products_a_second(bench.device, AUTOCAST[precision] or torch.float32, 256 if bench.args.small else 8192)
        own = found[precision] = {
            "seconds": seconds, "peak_bytes": memory, "flop": floor.flop, "products": floor.number,
            "products_seconds": products, "floor_seconds": floor.flop / rate,
            "rows": len(sample["net_input"]["source"]), "samples": sample["net_input"]["source"].size(1),
        }  # fmt: skip
        rows += [
            (f"update, {precision}", f"{1000 * seconds:,.1f} ms" + (f", {memory / 1e9:.1f} GB" if memory else "")),
            (
                "  its operations / measured rate",
                f"{1000 * own['floor_seconds']:,.1f} ms ({floor.flop / 1e12:,.3f} TFLOP)",
            ),
            ("  its products alone", f"{1000 * products:,.1f} ms ({floor.number} of them)"),
        ]
        del trainer, update, floor
    return found, rows


def reference(bench):
    from measuring.rates import peak_bytes, seconds_each
    from measuring.recipe import reference_step

    found, rows = {}, []
    for precision in bench.args.precisions:
        if precision not in bench.samples:
            bench.samples[precision] = bench.batch(bench.trainer(precision))
        run = reference_step(
            bench.args.encoder, bench.size, bench.samples[precision], precision, bench.device, bench.args.codebook
        )
        memory = peak_bytes(run, bench.device)
        seconds = seconds_each(run, bench.device, bench.args.steps)
        found[precision] = {"seconds": seconds, "peak_bytes": memory}
        size = f", {memory / 1e9:.1f} GB" if memory else ""
        rows.append((f"reference update, {precision}", f"{1000 * seconds:,.1f} ms{size}"))
    return found, rows


def recipe(bench):
    """Updates with data loading; the first ones, in which workers start, do not count."""
    from spin_fairseq.preparation.pitch_marks import measure_pitch_marks
    from spin_fairseq.speech.manifest import load_manifest
    from spin_fairseq.speech.speaker_pitch import load_speaker_pitch

    found, rows = {}, []
    marks = bench.folder / "marks"
    for name in ("train", "dev"):
        measure_pitch_marks(
            load_manifest(bench.speech, name), load_speaker_pitch(None), marks, workers=bench.args.workers
        )
    cached = f"task.pitch_marks={marks}"
    ways = {
        "made by the workers": [],
        "made by the workers, pitch marks cached": [cached],
        "made on the device, pitch marks cached": [cached, "task.perturb_on=device"],
    }
    for name, overrides in ways.items():
        each, audio = loaded_updates(bench, overrides)
        found[name] = {"seconds": each, "audio_a_second": audio, "recipe_seconds": each * UPDATES}
        rows.append((
            f"update with loading, views {name}",
            f"{1000 * each:,.1f} ms; {UPDATES:,} updates: {each * UPDATES / 60:,.1f} min ({bench.args.workers} workers)",
        ))  # fmt: skip
    return found, rows


def loaded_updates(bench, overrides):
    """-> (seconds an update, seconds of audio a second)."""
    from measuring.fairseq_trainer import batches
    from measuring.rates import wait_for

    from fairseq.logging import metrics

    trainer = bench.trainer(bench.args.precisions[0], *overrides, workers=bench.args.workers)
    start_up, count = (1, 3) if bench.args.small else (8, bench.args.updates)
    made, seconds_of_audio, start = 0, 0.0, None
    with metrics.aggregate("train", new_root=True):
        while made < start_up + count:
            for samples in batches(trainer):
                if made == start_up:
                    wait_for(bench.device)
                    start = time.perf_counter()
                with metrics.aggregate("train_inner"):
                    trainer.train_step(samples)
                made += 1
                seconds_of_audio += sum(samples[0]["lengths"]) / 16000 if made > start_up else 0.0
                if made == start_up + count:
                    break
        wait_for(bench.device)
    seconds = time.perf_counter() - start
    return seconds / count, seconds_of_audio / seconds


def voices(bench):
    """Seconds of audio whose view is changed in a second: marks are there."""
    import numpy as np
    import torch
    from measuring.rates import seconds_each
    from measuring.recipe import voice

    from spin_fairseq.data.device_views import complete_views, pending_views
    from spin_fairseq.perturbation import build_backend, draw_speaker, find_pitch_marks
    from spin_fairseq.perturbation.backends import perturb

    rng = np.random.default_rng(1)
    rows_of_batch, seconds = (2, 1.0) if bench.args.small else (21, 12.25)
    waves = [voice(int(seconds * 16000), rng) for _ in range(rows_of_batch)]
    marks = [find_pitch_marks(wave, 16000) for wave in waves]
    draws = [(draw_speaker(rng),) for _ in waves]

    def moved(value):
        if torch.is_tensor(value):
            return value.to(bench.device)
        return type(value)(map(moved, value)) if isinstance(value, (list, tuple)) else value

    pending = {**pending_views(draws, marks, [len(wave) for wave in waves])}
    pending = {key: moved(value) if key != "draws" else value for key, value in pending.items()}
    source = torch.stack([torch.from_numpy(wave) for wave in waves]).to(bench.device)
    sample = {"net_input": {"source": source, "padding_mask": None}, "pending": pending}
    audio = rows_of_batch * seconds
    device = audio / seconds_each(lambda: complete_views(sample, 16000), bench.device, 5)
    native = build_backend("native")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    few = list(zip(waves, draws, marks))[:4]
    host = (
        len(few)
        * seconds
        / seconds_each(lambda: [perturb(native, wave, 16000, None, own[0], mark) for wave, own, mark in few], "cpu", 2)
    )
    torch.set_num_threads(threads)
    found = {"device_audio_a_second": device, "core_audio_a_second": host}
    return found, [("voices on the device", f"{device:,.0f} s of audio a second"),
                   ("voices on one core of the host", f"{host:,.0f} s of audio a second")]  # fmt: skip


def units(bench):
    """Units of utterances of several lengths, in batches of 30 s or more."""
    import torch
    from benchmark_training_step import SIZES, reference_wavlm
    from measuring.rates import seconds_each
    from transformers import HubertConfig, HubertModel

    from spin_fairseq.encoders.conv_layers import parse_conv_layers
    from spin_fairseq.models.spin import SpinConfig, SpinModel

    sizes = SIZES[bench.size]
    model = (
        SpinModel.build_model(SpinConfig(checkpoint=str(bench.base), freeze="", codebook_sizes=[bench.args.codebook]))
        .eval()
        .to(bench.device)
    )
    convolutions = parse_conv_layers(sizes["conv_feature_layers"])
    if bench.args.encoder == "wavlm":
        other = reference_wavlm(sizes, convolutions)[0]
    else:
        widths, kernels, strides = zip(*convolutions)
        other = HubertModel(HubertConfig(
            conv_dim=widths, conv_kernel=kernels, conv_stride=strides, num_hidden_layers=sizes["encoder_layers"],
            hidden_size=sizes["encoder_embed_dim"], intermediate_size=sizes["encoder_ffn_embed_dim"],
            num_attention_heads=sizes["encoder_attention_heads"], num_conv_pos_embeddings=sizes["conv_pos"],
            num_conv_pos_embedding_groups=sizes["conv_pos_groups"],
        ))  # fmt: skip
    other = other.eval().to(bench.device)
    batch_rows, lengths = (2, (1.0, 2.0)) if bench.args.small else (16, (8.0, 12.0, 15.0))
    batches = []
    for length in lengths:
        counts = torch.linspace(0.9, 1.0, batch_rows).mul(length * 16000).long()
        source = torch.randn(batch_rows, int(counts.max())) * 0.1
        mask = torch.arange(source.size(1)) >= counts[:, None]
        batches.append((source.masked_fill(mask, 0.0).to(bench.device), mask.to(bench.device), int(counts.sum())))
    audio = sum(count for *_, count in batches) / 16000
    found, rows, expected = {}, [], None
    weights, their_weights = (
        {key: value.clone() for key, value in each.state_dict().items()} for each in (model, other)
    )
    for name, dtype in DTYPES.items():
        if bench.device == "cpu" and name in ("tf32", "fp16"):
            continue
        dtype = getattr(torch, dtype)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
        for each, saved in ((model, weights), (other, their_weights)):
            each.float().load_state_dict(saved)  # what was rounded to one precision is not rounded again to another
            each.to(dtype)

        @torch.inference_mode()
        def ours(dtype=dtype):
            return [model.extract_units(source.to(dtype), mask) for source, mask, _ in batches]

        @torch.inference_mode()
        def theirs(dtype=dtype):
            for source, mask, _ in batches:
                other(source.to(dtype), attention_mask=(~mask).long())

        speed, their_speed = (audio / seconds_each(run, bench.device, 3) for run in (ours, theirs))
        got = torch.cat([row.flatten() for row in ours()])
        expected = got if expected is None else expected
        changed = (got != expected).float().mean().item()
        found[name] = {"audio_a_second": speed, "transformers_audio_a_second": their_speed, "units_changed": changed}
        rows.append((f"units, {name}", f"{speed:,.0f} s of audio a second (transformers {their_speed:,.0f}); "
                                       f"{100 * changed:.2f} % of units changed"))  # fmt: skip
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return found, rows


# --- the command ----------------------------------------------------------------------------------------------------


def about_the_machine(device):
    import torch

    import spin_fairseq

    found = {"python": platform.python_version(), "torch": torch.__version__, "spin_fairseq": spin_fairseq.__version__}
    if device == "cpu":
        return {**found, "device": "cpu", "threads": torch.get_num_threads()}
    card = torch.cuda.get_device_properties(0)
    return {**found, "device": card.name, "memory_bytes": card.total_memory, "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version()}  # fmt: skip


def measured(name, bench):
    """-> (what a part found, rows of the table); of a part that fails, what failed: the others are worth their time."""
    import torch

    try:
        return globals()[name](bench)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}, [(name, f"failed: {type(error).__name__}: {error}")]
    finally:
        if bench.device == "cuda":
            torch.cuda.empty_cache()


def say(rows):
    for name, value in rows:
        print(f"{name:66s}  {value}", flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/benchmark_gpu.py [--out FILE.json] [--parts step recipe] [--device cpu --small]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--small", action="store_true", help="a tiny model and seconds of speech")
    parser.add_argument("--encoder", choices=["hubert", "wavlm"], default="hubert")
    parser.add_argument("--codebook", type=int, default=256, help="prototypes (default 256)")
    parser.add_argument("--precisions", nargs="+", choices=["fp16", "bf16", "amp", "float32"], default=None,
                        help="of training (default fp16 bf16, on a CPU float32 bf16); the first is the recipe's")  # fmt: skip
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="(default all)")
    parser.add_argument("--steps", type=int, default=None, help="timed steps (default 20, with --small 2)")
    parser.add_argument("--updates", type=int, default=100, help="with data loading, of each kind (default 100)")
    parser.add_argument("--workers", type=int, default=None, help="that load data (default 12, with --small 0)")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which no further part is begun (default 8)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)
    args.precisions = args.precisions or (["float32", "bf16"] if args.device == "cpu" else ["fp16", "bf16"])
    args.steps = args.steps or (2 if args.small else 20)
    args.workers = (0 if args.small else 12) if args.workers is None else args.workers

    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu --small tries the script itself")
    begin = time.perf_counter()
    options = {key: value for key, value in vars(args).items() if key != "out"}
    results = {"machine": about_the_machine(args.device), "options": options, "parts": {}}
    say([("device", results["machine"]["device"])])
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        bench = Benchmark(args, Path(folder))
        for name in args.parts:
            start = time.perf_counter()
            if start - begin > 60 * args.minutes:
                found, rows = {"left_out": True}, [(name, "left out: the time was over")]
            else:
                found, rows = measured(name, bench)
                found["took_seconds"] = time.perf_counter() - start
                rows.append((f"  ({name} took", f"{found['took_seconds']:.0f} s)"))
            results["parts"][name] = found
            results["seconds"] = time.perf_counter() - begin
            say(rows)
            if args.out:  # after each part: whoever stops the benchmark keeps what was measured
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.write_text(json.dumps(results, indent=1, default=str) + "\n")
    logging.disable(logging.NOTSET)
    if any("error" in part for part in results["parts"].values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
