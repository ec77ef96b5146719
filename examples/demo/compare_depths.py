#!/usr/bin/env python3
"""How deep to train, on the demo's speech: the last two layers, all layers, or the whole encoder; with and without layer-wise
decay, and with R-Spin's auxiliary loss.

    python examples/demo/compare_depths.py --seeds 1 2 3 --updates 40 dataset.max_tokens=800000 'optimization.lr=[0.001]'

For each seed it trains Spin with config/spin_demo.yaml and other frozen layers, and measures each layer of the base and of the
trained encoders on dev: PNMI and speaker NMI of k-means units, and the accuracy of a linear classifier that names the
speaker of a frame, fitted on train. The auxiliary loss is that of acoustic pieces, learnt on units of the first training. It
writes the tables to --page (outputs/depths/results.md); DEPTHS.md has those of other speech, and their command. A training that
is there already is not made again.
"""

import argparse
import json

from means import mean_text
from trainings import (
    PYTHON,
    add_arguments,
    command_line,
    over_seeds,
    parse_arguments,
    phone_metrics,
    run,
    train,
    write_page,
)

CLUSTERS = 100
FIT_FRAMES = 4000  # of k-means and of the speaker classifier, drawn at random
VOCABULARY = 400  # acoustic pieces, of 100 units
PIECES = "task.pieces=PIECES"  # stands for the folder of a seed
METRICS = {
    "pnmi": "PNMI of k-means units, more is better",
    "speaker_nmi": "Speaker NMI of k-means units, less is better",
    "speaker_accuracy": "Accuracy of naming the speaker of a frame, less is better",
}


def trainings(layers, decay):
    """{title: keys of the configuration}. layers: of the base."""
    rows = {f"layers {layers - 1}, {layers}": f"model.freeze=[cnn,pos,1..{layers - 2}]"}
    rows[f"layers 1 to {layers}"] = "model.freeze=[cnn,pos]"
    rows["everything"] = "model.freeze=[]"
    found = {}
    for number, (title, frozen) in enumerate(rows.items()):
        found[title] = [frozen]
        if number:
            found[f"{title}, decay {decay:g}"] = [frozen, f"model.layer_lr_decay={decay}"]
    found["everything, acoustic pieces"] = [rows["everything"], PIECES]
    return found


def write_pieces(args, seed, checkpoint):
    """Acoustic pieces of the units of a Spin model, for both splits. -> the folder."""
    folder = args.out / f"seed_{seed}" / "pieces"
    if not folder.exists():
        manifests = (args.out / f"{split}.tsv" for split in ("train", "dev"))
        run([*PYTHON, "pieces", *manifests, "--model", checkpoint, "--vocabulary", VOCABULARY, "--out", folder])
    return folder


def features_of(encoder, corpus):
    """-> {layer: [(frames, width) arrays]}."""
    import torch

    from spin_fairseq.speech.audio import read_audio

    layers, found = list(range(1, encoder.num_layers + 1)), {}
    with torch.inference_mode():
        for i in range(len(corpus)):
            wave = torch.from_numpy(read_audio(corpus.path(i)))[None]
            for layer, rows in zip(layers, encoder.encode_layers(wave, None, layers)):
                found.setdefault(layer, []).append(rows[0].numpy())
    return found


def measure(checkpoint, train_corpus, dev_corpus, seed):
    """-> {layer: {metric: value}} of an encoder, or of the one in a Spin checkpoint; kept beside the checkpoint of a training."""
    kept = checkpoint.with_name(f"measured_{seed}.json")
    if (checkpoint.parent / "finished").exists() and kept.exists():
        return {int(layer): metrics for layer, metrics in json.loads(kept.read_text()).items()}
    results = _measure(checkpoint, train_corpus, dev_corpus, seed)
    if (checkpoint.parent / "finished").exists():
        kept.write_text(json.dumps(results))
    return results


def _measure(checkpoint, train_corpus, dev_corpus, seed):
    import numpy as np

    from spin_fairseq.checkpoints import load_encoder
    from spin_fairseq.evaluation.confidence import plain
    from spin_fairseq.evaluation.features.kmeans import fit_centroids
    from spin_fairseq.evaluation.metrics.speakers import SpeakerMeasurement, speaker_accuracy

    encoder = load_encoder(checkpoint)
    of_train, of_dev = (features_of(encoder, corpus) for corpus in (train_corpus, dev_corpus))
    results = {}
    for layer in of_dev:
        frames = np.concatenate(of_train[layer])
        chosen = np.random.default_rng(seed).permutation(len(frames))[:FIT_FRAMES]
        centroids = fit_centroids(frames[chosen], CLUSTERS, seed)
        offset = (centroids**2).sum(1) / 2
        units = [(rows @ centroids.T - offset).argmax(1) for rows in of_dev[layer]]
        phones = phone_metrics(dev_corpus, units, CLUSTERS, encoder.frame_seconds)
        accuracy = speaker_accuracy(
            of_train[layer], train_corpus.speakers, of_dev[layer], dev_corpus.speakers, FIT_FRAMES, seed
        )
        speakers = plain(SpeakerMeasurement(dev_corpus.speakers, units, CLUSTERS))
        results[layer] = {"pnmi": phones["pnmi"], "speaker_nmi": speakers["speaker_nmi"], "speaker_accuracy": accuracy}
    return results


def layer_tables(results, metrics):
    """Lines of Markdown, a table a metric. results: {title: [{layer: {metric: value}}, one a seed]}."""
    import numpy as np

    layers, lines = list(next(iter(results.values()))[0]), []
    for key, title in metrics.items():
        lines += ["", f"## {title}", "", "| | " + " | ".join(f"layer {layer}" for layer in layers) + " |"]
        lines.append("|---" * (len(layers) + 1) + "|")
        for name, runs in results.items():
            cells = (mean_text(np.array([run[layer][key] for run in runs])) for layer in layers)
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def page(results, args, command):
    lines = [
        "# How deep to train",
        "",
        f"{over_seeds(args.seeds)} on the dev split, {args.updates} updates of each training, K = {CLUSTERS}; "
        "k-means and the classifier are fitted on train. The rows say which layers were trained; layers below the first of them are the "
        "base's. [docs/deeper.md](../../docs/deeper.md) says what follows.",
        "",
        f"    {command}",
        *layer_tables(results, METRICS),
    ]
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/demo/compare_depths.py [options] [KEY=VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, "depths")
    parser.add_argument(
        "--decay", type=float, default=0.5, help="model.layer_lr_decay of the rows with decay (default 0.5)"
    )
    args = parse_arguments(parser, argv)
    from spin_fairseq.checkpoints import load_encoder
    from spin_fairseq.evaluation.corpus import load_corpus

    corpora = load_corpus([args.out / "train.tsv"]), load_corpus([args.out / "dev.tsv"], [args.speech / "phones"])
    rows = {"nothing: the base": None, **trainings(load_encoder(args.base).num_layers, args.decay)}
    results = {title: [] for title in rows}
    for seed in args.seeds:
        first = None
        for title, keys in rows.items():
            if keys and PIECES in keys:
                keys = [*keys[:-1], f"task.pieces={write_pieces(args, seed, first)}"]
            checkpoint = args.base if keys is None else train(args, seed, keys)
            first = checkpoint if first is None and keys else first
            results[title].append(measure(checkpoint, *corpora, seed))
            print(seed, title, results[title][-1], flush=True)
    write_page(args, page(results, args, command_line("demo/compare_depths.py", args, parser)), results)


if __name__ == "__main__":
    main()
