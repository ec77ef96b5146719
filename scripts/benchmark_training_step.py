#!/usr/bin/env python3
"""Time and memory of a Spin training step beside the same step as the original code does it.

    python scripts/benchmark_training_step.py
    python scripts/benchmark_training_step.py --encoder wavlm
    python scripts/benchmark_training_step.py --seconds 8 17 --utterances 8    rows of the recipe's lengths, padded
    python scripts/benchmark_training_step.py --graph-for-all                  a third side that records a graph for frozen layers
    python scripts/benchmark_training_step.py --profile                        the operators that most of the time goes to

All sides take a random encoder of the same sizes (Base by default), the same padded batch of two views and dropout, and do
forward, backward, clipping and an Adam step:

    ours         the model and loss of this package
    reference    the encoder of another library, plainly called, its frozen parts under no_grad, as in the original code:
                 fairseq's HubertModel, transformers' WavLM; the same head and loss, the same trained parameters
    graph        the reference's modules with a graph for frozen parts too, as one gets by leaving everything as it is

Steps of the sides alternate, and medians are given, so that a noisy machine is noisy for all; CPU seconds are those of
this process, which others lengthen less. The floor of our step is measured in
the same turns: its matrix products, convolutions and attentions alone, of the same shapes, on random numbers. What a step takes above it
is norms, activations, dropout, the optimiser, copies, and calling them. Peak memory is that of a process of its own for
each side, above what it held before the first step (weights, batch).
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

SIZES = {
    "base": dict(
        encoder_layers=12, encoder_embed_dim=768, encoder_ffn_embed_dim=3072, encoder_attention_heads=12,
        conv_feature_layers="[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2", conv_pos=128, conv_pos_groups=16,
    ),
    "small": dict(
        encoder_layers=6, encoder_embed_dim=384, encoder_ffn_embed_dim=1536, encoder_attention_heads=6,
        conv_feature_layers="[(128,10,5)] + [(128,3,2)] * 4 + [(128,2,2)] * 2", conv_pos=64, conv_pos_groups=16,
    ),
}  # fmt: skip


def reference_hubert(cfg, convolutions):
    """-> fairseq's HuBERT, its transformer layers, its frozen parts besides them, and a function from waves to its output."""
    from fairseq.data.dictionary import Dictionary
    from fairseq.models.hubert.hubert import HubertConfig, HubertModel
    from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

    model = HubertModel(HubertConfig(**cfg, label_rate=50.0), HubertPretrainingConfig(data=""), [Dictionary()])
    model.remove_pretraining_modules()
    frozen = [(model, "feature_extractor"), (model, "layer_norm"), (model, "post_extract_proj"),
              (model.encoder, "pos_conv"), (model.encoder, "layer_norm")]  # fmt: skip

    def encode(source, padding_mask):
        return model(source, padding_mask=padding_mask, mask=False, features_only=True)["x"]

    return model, model.encoder.layers, frozen, encode


def reference_wavlm(cfg, convolutions):
    """As reference_hubert: transformers' WavLM."""
    from transformers import WavLMConfig, WavLMModel

    widths, kernels, strides = zip(*convolutions)
    model = WavLMModel(WavLMConfig(
        conv_dim=widths, conv_kernel=kernels, conv_stride=strides, num_hidden_layers=cfg["encoder_layers"],
        hidden_size=cfg["encoder_embed_dim"], intermediate_size=cfg["encoder_ffn_embed_dim"],
        num_attention_heads=cfg["encoder_attention_heads"], num_conv_pos_embeddings=cfg["conv_pos"],
        num_conv_pos_embedding_groups=cfg["conv_pos_groups"], layerdrop=0.0, mask_time_prob=0.0,
        activation_dropout=0.0,
    ))  # fmt: skip
    frozen = [(model, "feature_extractor"), (model, "feature_projection"),
              (model.encoder, "pos_conv_embed"), (model.encoder, "layer_norm")]  # fmt: skip
    encode = lambda source, padding_mask: model(source, (~padding_mask).long()).last_hidden_state  # noqa: E731
    return model, model.encoder.layers, frozen, encode


def freeze_as_reference(layers, frozen):
    """Run all but the last two layers under no_grad, each in a module that does so."""
    import torch

    class WithoutGrad(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        @torch.no_grad()
        def forward(self, *args, **kwargs):
            return self.module(*args, **kwargs)

    for owner, name in frozen:
        setattr(owner, name, WithoutGrad(getattr(owner, name)))
    for i in range(len(layers) - 2):
        layers[i] = WithoutGrad(layers[i])


def make_step(side, args):
    """-> a function that does one training step of a side."""
    import logging

    logging.disable(logging.INFO)
    import torch

    import spin_fairseq  # noqa: F401
    from spin_fairseq.encoders import SpeechEncoder, parse_conv_layers
    from spin_fairseq.modules.prototypes import PrototypeHead
    from spin_fairseq.modules.swapped_prediction import swapped_prediction_loss
    from spin_fairseq.spin_model import Spin, SpinConfig

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    cfg = SIZES[args.size]
    convolutions = parse_conv_layers(cfg["conv_feature_layers"])
    lengths = torch.linspace(args.seconds[0], args.seconds[-1], args.utterances).mul(16000).long().repeat(2)
    source = torch.randn(2 * args.utterances, int(lengths.max()))
    mask = torch.arange(source.size(1)) >= lengths[:, None]
    source = source.masked_fill(mask, 0.0).to(args.device)
    frames = lengths[: args.utterances].clone()
    for _, kernel, stride in convolutions:
        frames = (frames - kernel) // stride + 1
    valid = (torch.arange(int(frames.max())) < frames[:, None]).flatten().to(args.device)
    mask = mask.to(args.device)

    if side != "ours":
        make = {"hubert": reference_hubert, "wavlm": reference_wavlm}[args.encoder]
        encoder, layers, frozen, encode = make(cfg, convolutions)
        head = PrototypeHead(cfg["encoder_embed_dim"], [256], [args.codebook])
        model = torch.nn.ModuleList([encoder, head])
        trained = [*layers[-2:].parameters(), *head.parameters()]
        if side == "reference":
            freeze_as_reference(layers, frozen)

        def scores():
            return head(encode(source, mask))[0]

    else:
        encoder = SpeechEncoder({**cfg, "kind": args.encoder, "normalize": False, "sample_rate": 16000})
        frozen = [f"1..{cfg['encoder_layers'] - 2}", "cnn", "pos"]
        model = Spin(SpinConfig(freeze=frozen, codebook_sizes=[args.codebook]), encoder)
        trained = [p for p in model.parameters() if p.requires_grad]

        def scores():
            return model(source, mask)["scores"][0]

    model.to(args.device).train()
    optimizer = torch.optim.Adam(trained, lr=1e-4)

    def step():
        view_1, view_2 = (half.flatten(0, 1) for half in scores().chunk(2))
        loss = swapped_prediction_loss(view_1, view_2, valid=valid).loss
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 10.0)
        optimizer.step()
        if args.device != "cpu":
            torch.cuda.synchronize()

    return step


def peak_memory(side, args):
    """Peak bytes above those held before the first step; for a process of its own."""
    import torch

    step = make_step(side, args)
    if args.device == "cpu":
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step(), step()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    before = torch.cuda.memory_allocated()
    step(), step()
    return torch.cuda.max_memory_allocated() - before


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python scripts/benchmark_training_step.py [--encoder wavlm] [--seconds 8 17] [--device cuda]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--encoder", choices=["hubert", "wavlm"], default="hubert")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--seconds", type=float, nargs="+", default=[8.0, 17.0], metavar="S",
                        help="length of the utterances, or shortest and longest (default 8 17)")  # fmt: skip
    parser.add_argument("--utterances", type=int, default=4, help="utterances a batch, each in two views (default 4)")
    parser.add_argument("--codebook", type=int, default=256, help="prototypes (default 256)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each side (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default 2)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--graph-for-all", action="store_true", help="time the step that records a graph for frozen layers too"
    )
    parser.add_argument("--profile", action="store_true", help="print the operators that take most of our step")
    args = parser.parse_args(argv)

    from measuring.step_floor import StepFloor, profile

    sides = ["reference", "ours", *(["graph"] if args.graph_for_all else [])]
    peaks = {}
    for side in sides:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            peaks[side] = process.submit(peak_memory, side, args).result()

    steps = {side: make_step(side, args) for side in sides}
    floor = StepFloor(steps["ours"])
    steps["floor"] = floor.run
    turns = {side: [] for side in steps}
    for turn in range(args.steps + 1):
        for side, step in steps.items():
            start = time.perf_counter(), time.process_time()
            step()
            if turn:  # the first is a warm-up
                turns[side].append((time.perf_counter() - start[0], time.process_time() - start[1]))

    seconds, cpu = ({side: statistics.median(pair[i] for pair in turns[side]) for side in steps} for i in (0, 1))
    name = {"hubert": "HuBERT", "wavlm": "WavLM"}[args.encoder]
    length = "-".join(f"{value:g}" for value in args.seconds)
    print(f"{name} {args.size}, {args.utterances} x {length} s in two views, K = {args.codebook}, {args.device}, "
          f"{args.threads} threads")  # fmt: skip
    print(f"{'':9s} {'s/step':>8s} {'CPU s/step':>11s} {'peak MB above start':>20s}")
    for side in sides:
        print(f"{side:9s} {seconds[side]:8.3f} {cpu[side]:11.3f} {peaks[side] / 2**20:20.0f}")
    speed = (
        f"{floor.flop / 1e9:,.0f} GFLOP in {floor.number} products, {floor.flop / cpu['floor'] / 1e9:,.0f} a CPU second"
    )
    print(f"{'floor':9s} {seconds['floor']:8.3f} {cpu['floor']:11.3f}   {speed}")
    print(f"reference / ours: time {seconds['reference'] / seconds['ours']:.2f}, "
          f"CPU time {cpu['reference'] / cpu['ours']:.2f} (medians of {args.steps} turns); "
          f"ours / reference: memory {peaks['ours'] / peaks['reference']:.2f}; "
          f"ours / floor: CPU time {cpu['ours'] / cpu['floor']:.2f}")  # fmt: skip
    if args.profile:
        print(profile(steps["ours"]))


if __name__ == "__main__":
    main()
