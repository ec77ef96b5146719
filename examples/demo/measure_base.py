#!/usr/bin/env python3
"""Measure HuBERTs layer by layer beside MFCCs: what k-means units of them say of phones and of speakers.

    python examples/demo/measure_base.py examples/demo/hubert_demo.pt --speech SPEECH
    python examples/demo/measure_base.py demo=examples/demo/hubert_demo.pt new=OTHER.pt --speech SPEECH --clusters 100 --out FOLDER

SPEECH is a LibriSpeech-shaped folder: {train,dev}/SPEAKER/CHAPTER/*.flac and phones/dev.tsv. k-means and the speaker
classifiers are fitted on train; the figures are of dev, or of the split that --dev names:

- PNMI: mutual information of phones and units over the entropy of phones; 20-ms units are repeated twice against the
  10-ms labels, the longer is cut to the shorter, the first 160,000 samples of an utterance count (Spin's convention).
  MFCC units are taken at 100 Hz, which is to their favour, and at 50 Hz; as they come, and normalised as for the labels
  of iteration 1 (speech_features.normalize_mfcc). --centred adds each layer less the mean of each utterance, as the
  labels of the next iteration are made of it.
- Speaker NMI of the same units: the same with speakers for phones, as in docs/evaluation.md.
- Accuracy of a linear classifier of the speaker on standardised features: of single frames, and of utterance means;
  where the speakers of dev are those of train.

It writes figures.json, figures.md and layers.png, and training.png when pretrain.log is there.
"""

import argparse
import json
import re
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from speech_features import (
    fit_kmeans,
    hubert_features,
    load_hubert,
    mfcc_features,
    normalize_mfcc,
    read_phones,
    speech_files,
)

from spin_fairseq.evaluation.clusters import cluster_quality

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  after the choice of the backend

CLUSTERS = (64, 100)
SEEDS = (0, 1, 2)
LONGEST = 1000  # labels: 160,000 samples
KMEANS_FRAMES = 50_000  # of the train split, drawn anew for each seed
CLASSIFIER_FRAMES = 10_000


def frame_pairs(units, labels, repeat):
    """Units and labels of each 10 ms, over all utterances: two arrays of one length."""
    pairs = [(np.repeat(u, repeat)[:LONGEST], np.array(p)[:LONGEST]) for u, p in zip(units, labels)]
    cut = [(u[: min(len(u), len(p))], p[: min(len(u), len(p))]) for u, p in pairs]
    return np.concatenate([u for u, _ in cut]), np.concatenate([p for _, p in cut])


def unit_figures(train, dev, labels, speakers, clusters, repeat):
    """{"pnmi", "speaker_nmi"}, each the runs over SEEDS. train, dev: [(frames, dim)]; labels, speakers: of dev."""
    pnmi, speaker_nmi = [], []
    of_frame = [np.full(len(row), speaker) for row, speaker in zip(labels, speakers)]
    for seed in SEEDS:
        kmeans = fit_kmeans(train, clusters, seed, KMEANS_FRAMES, starts=2)
        units = [kmeans.predict(array) for array in dev]
        of_units, phones = frame_pairs(units, labels, repeat)
        pnmi.append(cluster_quality(phones, of_units)["pnmi"])
        of_units, names = frame_pairs(units, of_frame, repeat)
        speaker_nmi.append(cluster_quality(names, of_units)["pnmi"])
    return {"pnmi": spread(pnmi), "speaker_nmi": spread(speaker_nmi)}


def spread(runs):
    """Mean, standard deviation and the runs themselves, rounded for people to read."""
    return {
        "mean": round(float(np.mean(runs)), 4),
        "std": round(float(np.std(runs, ddof=1)), 4),
        "runs": [round(float(run), 4) for run in runs],
    }


def speaker_accuracy(train, dev, train_speakers, dev_speakers):
    """Accuracy of a linear classifier on rows of features, fitted on train."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    return round(float(classifier.fit(train, train_speakers).score(dev, dev_speakers)), 4)


def speaker_figures(train, dev, train_speakers, dev_speakers):
    """Frame-wise and utterance-wise speaker accuracy. train, dev: [(frames, dim)], and a speaker each."""
    step = -(-sum(map(len, train)) // CLASSIFIER_FRAMES)
    frames = [[array[::step] for array in arrays] for arrays in (train, dev)]
    names = [
        np.repeat(speakers, [len(array) for array in arrays])
        for speakers, arrays in zip((train_speakers, dev_speakers), frames)
    ]
    means = [np.stack([array.mean(axis=0) for array in arrays]) for arrays in (train, dev)]
    return {
        "speaker_accuracy_frames": speaker_accuracy(*map(np.concatenate, frames), *names),
        "speaker_accuracy_utterances": speaker_accuracy(*means, train_speakers, dev_speakers),
    }


def mfcc_kinds(paths):
    """{name: (train, dev, 10-ms labels a frame)} of MFCCs; paths: {"train", "dev"}."""
    mfcc = {split: mfcc_features(files) for split, files in paths.items()}
    normalized = {split: normalize_mfcc(arrays, mfcc["train"]) for split, arrays in mfcc.items()}
    kinds = {}
    for name, of_split in (("mfcc", mfcc), ("mfcc_normalized", normalized)):
        kinds[f"{name}_100hz"] = of_split["train"], of_split["dev"], 1
        kinds[f"{name}_50hz"] = *([array[::2] for array in of_split[split]] for split in ("train", "dev")), 2
    return kinds


def layer_kinds(checkpoint, paths, centred):
    """{"layer_N": (train, dev, 2)} of all layers of a HuBERT; and {"layer_N_centred"}, less the mean of each utterance."""
    model = load_hubert(checkpoint)
    layers = list(range(1, len(model.encoder.layers) + 1))
    features = {split: hubert_features(model, files, layers) for split, files in paths.items()}
    kinds = {f"layer_{layer}": (features["train"][layer], features["dev"][layer], 2) for layer in layers}
    if centred:
        for name, (train, dev, repeat) in list(kinds.items()):
            kinds[f"{name}_centred"] = (
                *([array - array.mean(axis=0) for array in arrays] for arrays in (train, dev)),
                repeat,
            )
    return kinds


def measure(checkpoints, speech, folder, dev="dev", clusters=CLUSTERS, centred=False):
    """Measure MFCCs and all layers, print the table, write figures.json, figures.md and the plots into the folder.

    checkpoints: {name: path}. speech: the LibriSpeech-shaped folder.
    """
    of_utterance = read_phones(speech / "phones" / f"{dev}.tsv")
    paths = {"train": speech_files(speech, "train"), "dev": speech_files(speech, dev)}
    paths["dev"] = [path for path in paths["dev"] if path.stem in of_utterance]
    speakers = {split: [path.stem.split("-")[0] for path in files] for split, files in paths.items()}
    labels = [of_utterance[path.stem] for path in paths["dev"]]
    seen = set(speakers["dev"]) <= set(speakers["train"])

    def rows(kinds):
        table = {}
        for kind, (train, of_dev, repeat) in kinds.items():
            table[kind] = {f"k{k}": unit_figures(train, of_dev, labels, speakers["dev"], k, repeat) for k in clusters}
            if seen:
                table[kind] |= speaker_figures(train, of_dev, speakers["train"], speakers["dev"])
            print(
                f"{kind:22s}",
                "  ".join(
                    f"{k}: PNMI {f['pnmi']['mean']:.4f} ±{f['pnmi']['std']:.4f}, speaker NMI {f['speaker_nmi']['mean']:.4f}"
                    for k, f in table[kind].items()
                    if k.startswith("k")
                ),
                flush=True,
            )
        return table

    figures = {"mfcc": rows(mfcc_kinds(paths)), "models": {}}
    for name, checkpoint in checkpoints.items():
        print(name, flush=True)
        figures["models"][name] = rows(layer_kinds(checkpoint, paths, centred))
    about = {
        "split": dev,
        "utterances": {split: len(files) for split, files in paths.items()},
        "seeds": SEEDS,
        "clusters": clusters,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(pretty({**about, **figures}))
    (folder / "figures.md").write_text("".join(row + "\n" for row in markdown(figures, clusters)))
    plot_layers(figures, clusters, folder / "layers.png")
    if (folder / "pretrain.log").exists():
        plot_training(folder / "pretrain.log", folder / "training.png")


def markdown(figures, clusters):
    """The rows of a Markdown table: mean ± standard deviation over the seeds of k-means."""
    header = ["features", *(f"PNMI, K = {k}" for k in clusters), *(f"speaker NMI, K = {k}" for k in clusters)]
    rows = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    kinds = [
        *figures["mfcc"].items(),
        *((f"{name}, {kind}", row) for name, table in figures["models"].items() for kind, row in table.items()),
    ]
    for kind, row in kinds:
        cells = [row[f"k{k}"][key] for key in ("pnmi", "speaker_nmi") for k in clusters]
        cells = [f"{cell['mean']:.3f} ± {cell['std']:.3f}".replace("0.", ".") for cell in cells]
        rows.append(f"| {' | '.join([kind.replace('_', ' ').replace('mfcc', 'MFCC').replace('hz', ' Hz'), *cells])} |")
    return rows


def pretty(tree):
    """Indented JSON with a list of numbers on one line."""
    text = json.dumps(tree, indent=2)
    return (
        re.sub(
            r"\[[^\[\]]*\]", lambda found: " ".join(found.group().split()).replace("[ ", "[").replace(" ]", "]"), text
        )
        + "\n"
    )


def plot_layers(figures, clusters, path):
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), dpi=90)
    for axis, name, title in zip(
        axes, ("pnmi", "speaker_nmi"), ("PNMI of phones and units", "NMI of speakers and units")
    ):
        lines = [(model, k) for model in figures["models"] for k in clusters]
        for number, (model, k) in enumerate(lines):
            table = figures["models"][model]
            layers = [int(kind.split("_")[1]) for kind in table if not kind.endswith("centred")]
            runs = [table[f"layer_{layer}"][f"k{k}"][name] for layer in layers]
            axis.errorbar(
                layers,
                [run["mean"] for run in runs],
                [run["std"] for run in runs],
                color=f"C{number}",
                marker="o",
                capsize=3,
                label=f"{model}, K = {k}",
            )
        for k, color in zip(clusters, ("k", "gray")):
            for kind, style, label in (
                ("mfcc_100hz", "--", "MFCC"),
                ("mfcc_normalized_100hz", ":", "MFCC, normalised"),
            ):
                axis.axhline(
                    figures["mfcc"][kind][f"k{k}"][name]["mean"],
                    color=color,
                    linestyle=style,
                    label=f"{label}, K = {k}",
                )
        axis.set(title=title, xlabel="layer")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path)


def plot_training(log, path):
    """Loss and accuracy of both iterations, from the rows of pretrain.log."""
    row = re.compile(r"iteration (\d)\s+(train|valid)\s+(\d+)\s+loss\s+(\S+)\s+masked\s+(\S+)\s+unmasked\s+(\S+)")
    rows = [
        (found[1], found[2], *map(float, found.groups()[2:]))
        for found in map(row.match, log.read_text().splitlines())
        if found
    ]
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
            axes[1].plot(
                points[:, 0],
                points[:, 2],
                "s" if split == "valid" else "--",
                color=color,
                markersize=4,
                label=f"{name}, masked",
            )
    axes[0].set(title="loss (bits)", xlabel="update")
    axes[1].set(title="accuracy", xlabel="update", ylim=(0, 1))
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6, ncol=2)
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="python examples/demo/measure_base.py [NAME=]CHECKPOINT ... --speech SPEECH [options]",
    )
    parser.add_argument("checkpoints", nargs="+", metavar="[NAME=]CHECKPOINT", help="HuBERT checkpoints of fairseq")
    parser.add_argument(
        "--speech", type=Path, required=True, help="LibriSpeech-shaped folder with train, and phones/dev.tsv"
    )
    parser.add_argument("--dev", default="dev", metavar="SPLIT", help="the split that is measured (default dev)")
    parser.add_argument("--clusters", type=int, nargs="+", default=CLUSTERS, help="K of k-means (default 64 100)")
    parser.add_argument("--centred", action="store_true", help="also each layer less the mean of each utterance")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/base"), help="folder for figures and plots (default outputs/base)"
    )
    args = parser.parse_args()
    named = [text.split("=", 1) if "=" in text else (Path(text).stem, text) for text in args.checkpoints]
    measure(dict(named), args.speech.resolve(), args.out, args.dev, args.clusters, args.centred)


if __name__ == "__main__":
    main()
