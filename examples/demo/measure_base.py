#!/usr/bin/env python3
"""Measure a HuBERT layer by layer beside MFCCs: what k-means units of it say of phones and of speakers.

    python examples/demo/measure_base.py --checkpoint examples/demo/hubert_demo.pt --work WORK --phones SPEECH/phones

WORK holds fairseq manifests train.tsv and dev.tsv. k-means and the speaker classifiers are fitted on train, the
figures are of dev:

- PNMI: mutual information of phones and units over the entropy of phones; 20-ms units are repeated twice against the
  10-ms labels, the longer is cut to the shorter, the first 160,000 samples of an utterance count (Spin's convention).
  MFCC units are taken at 100 Hz, which is to their favour, and at 50 Hz; as they come, and normalised as for the labels
  of iteration 1 (speech_features.normalize_mfcc).
- Speaker NMI of the same units.
- Accuracy of a linear classifier of the speaker on standardised features: of single frames, and of utterance means.

It writes figures.json and layers.png, and training.png when pretrain.log is there.
"""
import argparse
import json
import re
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import homogeneity_score, normalized_mutual_info_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from speech_features import (
    fit_kmeans,
    hubert_features,
    load_hubert,
    mfcc_features,
    normalize_mfcc,
    read_manifest,
    read_phones,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  after the choice of the backend

HERE = Path(__file__).resolve().parent
CLUSTERS = (64, 100)
SEEDS = (0, 1, 2)
LONGEST = 1000  # labels: 160,000 samples
KMEANS_FRAMES = 50_000  # of the train split's 327,000 (164,000 at 50 Hz), drawn anew for each seed
CLASSIFIER_FRAMES = 10_000


def frame_pairs(units, labels, repeat):
    """Units and labels of each 10 ms, over all utterances: two arrays of one length."""
    pairs = [(np.repeat(u, repeat)[:LONGEST], np.array(p)[:LONGEST]) for u, p in zip(units, labels)]
    cut = [(u[:min(len(u), len(p))], p[:min(len(u), len(p))]) for u, p in pairs]
    return np.concatenate([u for u, _ in cut]), np.concatenate([p for _, p in cut])


def unit_figures(train, dev, labels, speakers, clusters, repeat):
    """{"pnmi", "speaker_nmi"}, each the runs over SEEDS. train, dev: [(frames, dim)]."""
    pnmi, speaker_nmi = [], []
    of_frame = [np.full(len(row), speaker) for row, speaker in zip(labels, speakers)]
    for seed in SEEDS:
        kmeans = fit_kmeans(train, clusters, seed, KMEANS_FRAMES, starts=2)
        units = [kmeans.predict(array) for array in dev]
        pnmi.append(homogeneity_score(*reversed(frame_pairs(units, labels, repeat))))
        speaker_nmi.append(normalized_mutual_info_score(*reversed(frame_pairs(units, of_frame, repeat))))
    return {"pnmi": spread(pnmi), "speaker_nmi": spread(speaker_nmi)}


def spread(runs):
    """Mean, standard deviation and the runs themselves, rounded for people to read."""
    return {"mean": round(float(np.mean(runs)), 4), "std": round(float(np.std(runs, ddof=1)), 4),
            "runs": [round(float(run), 4) for run in runs]}


def speaker_accuracy(train, dev, train_speakers, dev_speakers):
    """Accuracy of a linear classifier on rows of features, fitted on train."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    return round(float(classifier.fit(train, train_speakers).score(dev, dev_speakers)), 4)


def speaker_figures(train, dev, train_speakers, dev_speakers):
    """Frame-wise and utterance-wise speaker accuracy. train, dev: [(frames, dim)], and a speaker each."""
    step = -(-sum(map(len, train)) // CLASSIFIER_FRAMES)
    frames = [[array[::step] for array in arrays] for arrays in (train, dev)]
    names = [np.repeat(speakers, [len(array) for array in arrays])
             for speakers, arrays in zip((train_speakers, dev_speakers), frames)]
    means = [np.stack([array.mean(axis=0) for array in arrays]) for arrays in (train, dev)]
    return {"speaker_accuracy_frames": speaker_accuracy(*map(np.concatenate, frames), *names),
            "speaker_accuracy_utterances": speaker_accuracy(*means, train_speakers, dev_speakers)}


def measure(checkpoint, work, phones, figures):
    """Measure MFCCs and all layers, print the table, write figures.json and the plots."""
    paths = {split: read_manifest(work / f"{split}.tsv") for split in ("train", "dev")}
    speakers = {split: [path.stem.split("-")[0] for path in files] for split, files in paths.items()}
    of_utterance = read_phones(phones / "dev.tsv")
    labels = [of_utterance[path.stem] for path in paths["dev"]]

    model = load_hubert(checkpoint)
    layers = list(range(1, len(model.encoder.layers) + 1))
    mfcc = {split: mfcc_features(files) for split, files in paths.items()}
    hubert = {split: hubert_features(model, files, layers) for split, files in paths.items()}
    normalized = {split: normalize_mfcc(arrays, mfcc["train"]) for split, arrays in mfcc.items()}
    kinds = {}
    for name, of_split in (("mfcc", mfcc), ("mfcc_normalized", normalized)):
        kinds[f"{name}_100hz"] = of_split["train"], of_split["dev"], 1
        kinds[f"{name}_50hz"] = *([array[::2] for array in of_split[split]] for split in ("train", "dev")), 2
    kinds |= {f"layer_{layer}": (hubert["train"][layer], hubert["dev"][layer], 2) for layer in layers}

    table = {}
    for kind, (train, dev, repeat) in kinds.items():
        table[kind] = {f"k{clusters}": unit_figures(train, dev, labels, speakers["dev"], clusters, repeat) for clusters in CLUSTERS}
        table[kind] |= speaker_figures(train, dev, speakers["train"], speakers["dev"])
        print(f"{kind:22s}", "  ".join(f"{k}: PNMI {f['pnmi']['mean']:.4f} ±{f['pnmi']['std']:.4f}, speaker NMI {f['speaker_nmi']['mean']:.4f}"
                                       for k, f in table[kind].items() if k.startswith("k")),
              f" speaker accuracy: frames {table[kind]['speaker_accuracy_frames']:.3f},"
              f" utterances {table[kind]['speaker_accuracy_utterances']:.3f}", flush=True)

    best = max(layers, key=lambda layer: table[f"layer_{layer}"]["k100"]["pnmi"]["mean"])
    utterances = {split: len(files) for split, files in paths.items()}
    figures.mkdir(parents=True, exist_ok=True)
    (figures / "figures.json").write_text(pretty({"utterances": utterances, "seeds": SEEDS, "best_layer": best, "features": table}))
    plot_layers(table, layers, figures / "layers.png")
    if (figures / "pretrain.log").exists():
        plot_training(figures / "pretrain.log", figures / "training.png")


def pretty(tree):
    """Indented JSON with a list of numbers on one line."""
    text = json.dumps(tree, indent=2)
    return re.sub(r"\[[^\[\]]*\]", lambda found: " ".join(found.group().split()).replace("[ ", "[").replace(" ]", "]"), text) + "\n"


def plot_layers(table, layers, path):
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), dpi=90)
    for axis, name, title in zip(axes, ("pnmi", "speaker_nmi"), ("PNMI of phones and units", "NMI of speakers and units")):
        for color, clusters in zip(("C0", "C1"), CLUSTERS):
            runs = [table[f"layer_{layer}"][f"k{clusters}"][name] for layer in layers]
            axis.errorbar(layers, [run["mean"] for run in runs], [run["std"] for run in runs], color=color,
                          marker="o", capsize=3, label=f"HuBERT, K = {clusters}")
            for kind, style, label in (("mfcc_100hz", "--", "MFCC"), ("mfcc_normalized_100hz", ":", "MFCC, normalised")):
                mean = table[kind][f"k{clusters}"][name]["mean"]
                axis.axhline(mean, color=color, linestyle=style, label=f"{label}, K = {clusters}")
        axis.set(title=title, xlabel="layer", xticks=layers)
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path)


def plot_training(log, path):
    """Loss and accuracy of both iterations, from the rows of pretrain.log."""
    row = re.compile(r"iteration (\d)\s+(train|valid)\s+(\d+)\s+loss\s+(\S+)\s+masked\s+(\S+)\s+unmasked\s+(\S+)")
    rows = [(found[1], found[2], *map(float, found.groups()[2:])) for found in map(row.match, log.read_text().splitlines()) if found]
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), dpi=90)
    for iteration in sorted({r[0] for r in rows}):
        color = f"C{iteration}"
        for split, style in (("train", "-"), ("valid", "o")):
            points = np.array([r[2:] for r in rows if r[:2] == (iteration, split)])
            if not len(points):
                continue
            name = f"iteration {iteration}, {split}"
            axes[0].plot(points[:, 0], points[:, 1], style, color=color, markersize=4, label=name)
            axes[1].plot(points[:, 0], points[:, 3], style, color=color, markersize=4, label=f"{name}, unmasked")
            axes[1].plot(points[:, 0], points[:, 2], "s" if split == "valid" else "--", color=color, markersize=4, label=f"{name}, masked")
    axes[0].set(title="loss (bits)", xlabel="update")
    axes[1].set(title="accuracy", xlabel="update", ylim=(0, 1))
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6, ncol=2)
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="python examples/demo/measure_base.py --checkpoint examples/demo/hubert_demo.pt --work WORK --phones SPEECH/phones")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder with fairseq manifests train.tsv and dev.tsv")
    parser.add_argument("--phones", type=Path, required=True, help="folder with dev.tsv, the labels of each 10 ms")
    parser.add_argument("--figures", type=Path, default=HERE / "base")
    args = parser.parse_args()
    measure(args.checkpoint, args.work, args.phones, args.figures)


if __name__ == "__main__":
    main()
