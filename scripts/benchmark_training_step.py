#!/usr/bin/env python3
"""Time and memory of a Spin training step beside the same step written plainly.

    python scripts/benchmark_training_step.py
    python scripts/benchmark_training_step.py --encoder wavlm
    python scripts/benchmark_training_step.py --profile              the operators that the time goes to, as well
    python scripts/benchmark_training_step.py --seconds 10 --utterances 2 --steps 5 --device cuda

Both sides take a random encoder of the same sizes (Base by default) and the same batch of two views, and do forward,
backward and an Adam step:

    ours    the model and criterion of this package: frozen layers build no graph, no intermediate result is kept
    plain   another implementation with every layer recorded, as one gets by calling it and leaving requires_grad alone:
            fairseq's HubertModel; torchaudio's WavLM, or transformers' where torchaudio does not import. The same head
            and loss; the optimiser has the same parameters as ours

Each step of one side is followed by one of the other, and medians are given, so that a noisy machine is noisy for both.
After each pair comes the floor of our step: its matrix products, convolutions and attentions alone, of the same shapes,
on random numbers. What a step takes above it is norms, activations, dropout, the optimiser, copies, and calling them.
Peak memory is that of a process of its own for each side, above what it held before the first step (weights, batch).
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


def plain_hubert(cfg, convolutions):
    """-> a HuBERT, its transformer layers, and a function from the wave to its output: fairseq's own."""
    from fairseq.data.dictionary import Dictionary
    from fairseq.models.hubert.hubert import HubertConfig, HubertModel
    from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

    model = HubertModel(HubertConfig(**cfg, label_rate=50.0), HubertPretrainingConfig(data=""), [Dictionary()])

    def encode(source):
        mask = source.new_zeros(source.shape, dtype=bool)
        return model(source, padding_mask=mask, mask=False, features_only=True)["x"]

    return model, model.encoder.layers, encode


def plain_wavlm(cfg, convolutions):
    """As plain_hubert: torchaudio's WavLM, or transformers'."""
    try:
        from torchaudio.models import wavlm_model
    except (ImportError, OSError):  # its compiled parts do not fit every build of torch
        from transformers import WavLMConfig, WavLMModel

        widths, kernels, strides = zip(*convolutions)
        model = WavLMModel(WavLMConfig(
            conv_dim=widths, conv_kernel=kernels, conv_stride=strides, num_hidden_layers=cfg["encoder_layers"],
            hidden_size=cfg["encoder_embed_dim"], intermediate_size=cfg["encoder_ffn_embed_dim"],
            num_attention_heads=cfg["encoder_attention_heads"], num_conv_pos_embeddings=cfg["conv_pos"],
            num_conv_pos_embedding_groups=cfg["conv_pos_groups"], layerdrop=0.0, mask_time_prob=0.0,
            activation_dropout=0.0,
        ))  # fmt: skip
        return model, model.encoder.layers, lambda source: model(source).last_hidden_state
    model = wavlm_model(
        "group_norm", convolutions, False, cfg["encoder_embed_dim"], 0.0, cfg["conv_pos"], cfg["conv_pos_groups"],
        cfg["encoder_layers"], cfg["encoder_attention_heads"], 320, 800, 0.1, cfg["encoder_ffn_embed_dim"], 0.0, 0.1,
        False, 0.0, None,
    )  # fmt: skip
    return model, model.encoder.transformer.layers, lambda source: model.extract_features(source)[0][-1]


def make_step(side, args):
    """-> a function that does one training step of a side."""
    import logging

    logging.disable(logging.INFO)
    import torch

    import spin_fairseq  # noqa: F401
    from spin_fairseq.checkpoints.conv_layers import parse_conv_layers
    from spin_fairseq.models.encoders import build_encoder
    from spin_fairseq.models.spin import SpinConfig, SpinModel
    from spin_fairseq.modules.prototypes import PrototypeHead
    from spin_fairseq.modules.swapped_prediction import swapped_prediction_loss

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    cfg = SIZES[args.size]
    source = torch.randn(2 * args.utterances, int(args.seconds * 16000), device=args.device)
    valid = torch.ones(1, dtype=torch.bool, device=args.device)

    if side == "plain":
        make = {"hubert": plain_hubert, "wavlm": plain_wavlm}[args.encoder]
        encoder, layers, encode = make(cfg, parse_conv_layers(cfg["conv_feature_layers"]))
        head = PrototypeHead(cfg["encoder_embed_dim"], [256], [args.codebook])
        model = torch.nn.ModuleList([encoder, head])
        trained = [*layers[-2:].parameters(), *head.parameters()]

        def scores():
            return head(encode(source))[0]

    else:
        encoder = build_encoder({**cfg, "kind": args.encoder, "normalize": False, "sample_rate": 16000})
        frozen = [f"1..{cfg['encoder_layers'] - 2}", "cnn", "pos"]
        model = SpinModel(SpinConfig(freeze=frozen, codebook_sizes=[args.codebook]), encoder)
        trained = [p for p in model.parameters() if p.requires_grad]
        mask = torch.zeros(source.shape, dtype=torch.bool, device=args.device)

        def scores():
            return model(source, mask)["scores"][0]

    model.to(args.device).train()
    optimizer = torch.optim.Adam(trained, lr=1e-4)

    def step():
        view_1, view_2 = (half.flatten(0, 1) for half in scores().chunk(2))
        loss = swapped_prediction_loss(view_1, view_2, valid=valid.expand(len(view_1))).loss
        model.zero_grad(set_to_none=True)
        loss.backward()
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
        usage="python scripts/benchmark_training_step.py [--encoder wavlm] [--seconds 10] [--device cuda]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--encoder", choices=["hubert", "wavlm"], default="hubert")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of an utterance (default 8)")
    parser.add_argument("--utterances", type=int, default=2, help="utterances a batch, each in two views (default 2)")
    parser.add_argument("--codebook", type=int, default=256, help="prototypes (default 256)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each side (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default 2)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--profile", action="store_true", help="print the operators that take most of our step")
    args = parser.parse_args(argv)

    from measuring.step_floor import StepFloor, profile

    peaks = {}
    for side in ("plain", "ours"):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            peaks[side] = process.submit(peak_memory, side, args).result()

    steps = {side: make_step(side, args) for side in ("plain", "ours")}
    floor = StepFloor(steps["ours"])
    steps["floor"] = floor.run
    times = {side: [] for side in steps}
    for turn in range(args.steps + 1):
        for side, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:  # the first is a warm-up
                times[side].append(time.perf_counter() - start)

    seconds = {side: statistics.median(values) for side, values in times.items()}
    name = {"hubert": "HuBERT", "wavlm": "WavLM"}[args.encoder]
    print(f"{name} {args.size}, {args.utterances} x {args.seconds:g} s in two views, K = {args.codebook}, {args.device}")
    print(f"{'':6s} {'s/step':>8s} {'peak MB above start':>20s}")
    for side in ("plain", "ours"):
        print(f"{side:6s} {seconds[side]:8.3f} {peaks[side] / 2**20:20.0f}")
    speed = f"{floor.flop / 1e9:,.0f} GFLOP in {floor.number} products, {floor.flop / seconds['floor'] / 1e9:,.0f} a second"
    print(f"{'floor':6s} {seconds['floor']:8.3f}   {speed}")
    print(f"plain / ours: time {seconds['plain'] / seconds['ours']:.2f} (median of {args.steps} pairs), "
          f"ours / plain: memory {peaks['ours'] / peaks['plain']:.2f}, "
          f"ours / floor: time {seconds['ours'] / seconds['floor']:.2f}")  # fmt: skip
    if args.profile:
        print(profile(steps["ours"]))


if __name__ == "__main__":
    main()
