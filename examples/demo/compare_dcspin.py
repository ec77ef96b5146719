#!/usr/bin/env python3
"""DC-Spin on the demo's speech: a primary codebook alone, and beside an auxiliary one.

    python examples/demo/compare_dcspin.py --seeds 1 2 3 --updates 40 model.codebook_init=random dataset.max_tokens=800000 'optimization.lr=[0.001]'

For each seed it trains Spin with config/spin_demo.yaml twice, with equal updates and the same draws, and measures the units of
the primary codebook on dev: PNMI, how well an n-gram predicts the next unit, and what they say of the speaker. It
writes the table to --page (outputs/dcspin/results.md); DCSPIN.md has one of other speech, and its command. A training that is
there already is not made again.
"""

import argparse

from trainings import (
    add_arguments,
    command_line,
    over_seeds,
    parse_arguments,
    phone_metrics,
    table,
    train,
    write_page,
)

METRICS = {
    "pnmi": ("PNMI", True),
    "phone_purity": ("phone purity", True),
    "bits": ("bits a unit, trigram", False),
    "unigram_bits": ("bits a unit, unigram", None),
    "deduplicated_per_second": ("units a second, de-duplicated", None),
    "speaker_nmi": ("speaker NMI", False),
}


def measure(checkpoint, corpus):
    """-> {metric: value} of the units of the first codebook."""
    import numpy as np
    import torch

    from spin_fairseq.checkpoints import load_spin
    from spin_fairseq.evaluation.confidence import plain
    from spin_fairseq.evaluation.metrics.speakers import SpeakerMeasurement
    from spin_fairseq.evaluation.metrics.tokens import TokenMeasurement
    from spin_fairseq.speech.audio import read_audio

    model = load_spin(checkpoint)
    clusters, seconds = len(model.head.prototypes[0]), model.encoder.frame_seconds
    with torch.inference_mode():
        waves = (torch.from_numpy(read_audio(corpus.path(i)))[None] for i in range(len(corpus)))
        units = [model.extract_units(wave)[0].numpy() for wave in waves]
    found = {
        **phone_metrics(corpus, units, clusters, seconds),
        **plain(SpeakerMeasurement(corpus.speakers, units, clusters)),
        **plain(TokenMeasurement(units, clusters, seconds)),
    }
    found.update(bits=np.log2(found["trigram_perplexity"]), unigram_bits=np.log2(found["unigram_perplexity"]))
    return {key: float(found[key]) for key in METRICS}


def page(results, sizes, args, command):
    lines = [
        "# DC-Spin: the primary codebook alone, and beside an auxiliary one",
        "",
        f"{over_seeds(args.seeds)} on the dev split, {args.updates} updates of each training; in brackets the "
        "difference to the first row, within seeds. Both rows are units of the primary codebook. Bits a unit: -log2 of the probability "
        "that an n-gram gives to the next de-duplicated unit, counted on other utterances of dev "
        "([docs/metrics.md](../../docs/metrics.md)); fewer are better predicted.",
        "",
        f"    {command}",
        "",
        *table(results, METRICS),
    ]
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/demo/compare_dcspin.py [options] [KEY=VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, "dcspin")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs=2,
        default=[50, 400],
        help="of the primary and the auxiliary codebook (default 50 400)",
    )
    args = parse_arguments(parser, argv)
    from spin_fairseq.evaluation.corpus import load_corpus

    corpus = load_corpus([args.out / "dev.tsv"], [args.speech / "phones"])
    primary, auxiliary = args.sizes
    trainings = {f"primary, {primary}": [primary], f"primary, {primary}, beside auxiliary, {auxiliary}": args.sizes}
    results = {title: [] for title in trainings}
    for seed in args.seeds:
        for title, sizes in trainings.items():
            checkpoint = train(args, seed, [f"model.codebook_sizes=[{','.join(map(str, sizes))}]"])
            results[title].append({"seed": seed, **measure(checkpoint, corpus)})
    write_page(args, page(results, args.sizes, args, command_line("demo/compare_dcspin.py", args, parser)), results)


if __name__ == "__main__":
    main()
