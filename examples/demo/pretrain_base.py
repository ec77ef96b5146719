#!/usr/bin/env python3
"""Pre-train a small base HuBERT with fairseq's own `hubert_pretraining` task.

    python examples/demo/pretrain_base.py --speech SPEECH --work WORK

It wants the environment of `make setup`, and librosa and matplotlib. SPEECH is a LibriSpeech-shaped folder:
{train,dev}/SPEAKER/CHAPTER/*.{flac,ogg,wav}, and phones/dev.tsv for the figures. For 55 minutes of speech the two trainings took 47
minutes on two shared CPU cores, and the figures a quarter of that. The stages, each skipped when its output is in WORK:

    1. fairseq manifests                                    WORK/{train,valid}.tsv
    2. k-means (K = 100) of 39-dimensional MFCCs, 100 Hz    WORK/labels_1/{train,valid}.km, dict.km.txt
    3. HuBERT, iteration 1                                  WORK/iteration_1.pt
    4. k-means (K = 200) of a layer of iteration 1, 50 Hz   WORK/labels_2/
    5. HuBERT, iteration 2, from the weights of 1           WORK/iteration_2.pt
    6. the checkpoint without optimiser and paths           --out (hubert_demo.pt)
    7. figures and plots, see measure_base.py               --figures (base/), where SPEECH has phones/dev.tsv

It is HuBERT's recipe (Hsu et al. 2021) but for two things that a training so short profits from: MFCCs and a layer's
features are normalised before they are clustered (see normalize_mfcc; of a layer, each utterance's mean is taken), and
iteration 2 starts from iteration 1's weights. base/hubert_demo.yaml holds the rest, and says where it differs from
fairseq's own config.

A third number in --updates and --clusters, and a second in --layers, add a third iteration, also to a WORK that holds two:

    python examples/demo/pretrain_base.py --speech SPEECH --work WORK --updates 1000 500 800 --clusters 100 200 200 --layers 3 3

More iterations can start from a checkpoint, and the model can grow. This makes a base of 6 layers of one that has 4; its
first labels are 200 clusters of layer 4, smoothed over 5 frames, and more frames are masked than in the config:

    python examples/demo/pretrain_base.py --speech SPEECH MORE_SPEECH --work WORK --out BASE.pt --figures FIGURES \
        --start EARLIER.pt --grow 6 --layers 4 --window 5 --clusters 200 --updates 1000 --mask-prob 0.65

A base of another shape starts from random weights, and learns the clusters of a layer of an existing one, its --teacher. --config
names what differs from base/hubert_demo.yaml, --device what computes the layers and trains (a GPU where there is one), and
--speeds adds variety: copies of the speech at other speeds, which keep the labels of the original:

    python examples/demo/pretrain_base.py --speech SPEECH MORE_SPEECH --work WORK --out BASE.pt --half --figures FIGURES \
        --teacher EARLIER.pt --config examples/demo/base/hubert_gpu.yaml --layers 4 4 --window 5 --clusters 200 200 \
        --updates 2000 3000 --mask-prob 0.65 0.8 --speeds 0.9 0.95 1 1.05 1.1

Labels that are made elsewhere, 50 a second, are learnt by --labels, such as those of whisper_labels.py; its help has the commands.

With several folders of speech, all are trained on, and dev is that of the first. Matrix products are made in bfloat16 where the
processor has them, with sums in float32.

A training that was stopped resumes from its last checkpoint. No training reads the phone labels: they serve the
figures, and by these (on dev) the MFCCs' normalisation and the default of --layers were chosen.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from scipy.ndimage import correlate1d

from base_checkpoints import SEED, strip_checkpoint, write_start
from measure_base import measure
from speech_features import (
    fit_kmeans,
    hubert_features,
    load_hubert,
    mfcc_features,
    normalize_mfcc,
    read_manifest,
    write_manifest,
)
from speed_copies import write_copies, write_labels_of_copies

HERE = Path(__file__).resolve().parent
# fairseq-hydra-train, with matrix products in bfloat16 where the processor has them (their sums stay in float32)
# It leaves soon: torch would wait five seconds for each data worker that has batches at hand.
TRAIN = """import os, torch
torch.set_float32_matmul_precision("medium")
torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.2
from fairseq_cli.hydra_train import cli_main
cli_main()
os._exit(0)
"""


def layer_features(checkpoint, layer, paths, window=1, device="cpu"):
    """{split: [(frames, dim)]} of a layer, less the mean of each utterance, smoothed over a window of so many frames.

    Without the mean the clusters say less of the speaker and more of the phone (van Niekerk et al. 2021).
    """
    model = load_hubert(checkpoint).to(device)
    features = {split: hubert_features(model, files, [layer])[layer] for split, files in paths.items()}
    return {
        split: [smooth(array - array.mean(axis=0), window) for array in arrays] for split, arrays in features.items()
    }


def smooth(features, window):
    """(frames, dim) -> the same, averaged over time with a triangular window of an odd number of frames; the ends are repeated."""
    weights = np.bartlett(window + 2)[1:-1]
    return correlate1d(features, weights / weights.sum(), axis=0, mode="nearest")


def write_labels(folder, features, clusters):
    """Label files for `hubert_pretraining`: a row of cluster numbers per utterance, and the dictionary of clusters.

    features: {split: [(frames, dim)]} in the manifests' order; the clusters are those of the train split.
    """
    kmeans = fit_kmeans(features["train"], clusters, SEED)
    part = folder.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    for split, arrays in features.items():
        rows = (" ".join(map(str, kmeans.predict(array))) for array in arrays)
        (part / f"{split}.km").write_text("".join(row + "\n" for row in rows))
    (part / "dict.km.txt").write_text("".join(f"{cluster} 1\n" for cluster in range(clusters)))
    part.rename(folder)


def take_labels(source, labels, paths):
    """Copy ready labels to WORK/labels_1, where they have a row for each file. paths: {split: the files of the manifest}."""
    for split, files in paths.items():
        rows = sum(1 for _ in open(source / f"{split}.km"))
        if rows != len(files):
            raise SystemExit(
                f"{source / split}.km has {rows} rows for {len(files)} files: labels are made with the same --speech, in the same order"
            )
    shutil.copytree(source, labels.with_suffix(".part"), dirs_exist_ok=True)
    labels.with_suffix(".part").rename(labels)


def pretrain(work, iteration, data, config, label_rate, updates, *overrides):
    """Run fairseq-hydra-train on a folder of manifests and labels_N; its JSON rows go to WORK/iteration_N.log.

    config: a YAML file of what differs from base/hubert_demo.yaml, or None.
    """
    run, log = work / f"run_{iteration}", work / f"iteration_{iteration}.log"
    files = [HERE / "base" / "hubert_demo.yaml", *([config] if config else [])]
    OmegaConf.save(OmegaConf.merge(*map(OmegaConf.load, files)), work / "pretrain.yaml")
    command = [
        sys.executable,
        "-c",
        TRAIN,
        "--config-dir",
        str(work),
        "--config-name",
        "pretrain",
        f"common.user_dir={HERE.parents[1] / 'spin_fairseq'}",  # torch >= 2.6 cannot resume without its allow-list
        f"common.seed={SEED}",
        f"task.data={data}",
        f"task.label_dir={data / f'labels_{iteration}'}",
        f"task.label_rate={label_rate}",
        f"optimization.max_update={updates}",
        f"checkpoint.save_dir={run}",
        f"hydra.run.dir={run}",
        *overrides,
    ]
    with open(log, "a") as rows:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in process.stdout:
            rows.write(line)
            rows.flush()
            if row := log_row(line):
                print(f"iteration {iteration}: {row}", flush=True)
    if process.wait():
        raise SystemExit(f"fairseq-hydra-train failed; the end of {log} says why")
    shutil.copy(run / "checkpoint_last.pt", work / "part.pt")
    (work / "part.pt").rename(work / f"iteration_{iteration}.pt")


def log_row(line):
    """The figures of one of fairseq's JSON rows, or None: update, loss (bits), accuracy on masked and other frames."""
    start = line.find('{"epoch"')
    if start < 0:
        return None
    row = json.loads(line[start:])
    kind = "valid" if "valid_loss" in row else "train" if "loss" in row and "train_loss" not in row else None
    if kind is None:
        return None
    prefix = "valid_" if kind == "valid" else ""
    figures = {name: float(row[prefix + name]) for name in ("num_updates", "loss", "correct_m_0", "correct_u_0")}
    return "{kind} {num_updates:5.0f}  loss {loss:6.3f}  masked {correct_m_0:.3f}  unmasked {correct_u_0:.3f}".format(
        kind=kind, **figures
    )


def add_speech(parser):
    """The option that names the speech, also of whisper_labels.py: both take the same folders in the same order."""
    parser.add_argument(
        "--speech",
        type=Path,
        nargs="+",
        required=True,
        help="LibriSpeech-shaped folders; the dev split is that of the first",
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="python examples/demo/pretrain_base.py --speech SPEECH --work WORK",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_speech(parser)
    parser.add_argument("--work", type=Path, required=True, help="folder for everything in between")
    parser.add_argument("--out", type=Path, default=HERE / "hubert_demo.pt", help="the final checkpoint")
    parser.add_argument("--figures", type=Path, default=HERE / "base", help="folder for log, figures and plots")
    parser.add_argument(
        "--clusters", type=int, nargs="+", default=(100, 200), help="K of the labels of iteration 1, 2, ..."
    )
    parser.add_argument("--mask-prob", type=float, nargs="+", help="of iteration 1, 2, ... (default: the config's)")
    parser.add_argument("--updates", type=int, nargs="+", default=(1000, 500), help="of iteration 1, 2, ...")
    parser.add_argument(
        "--layers", type=int, nargs="*", default=(3,), help="of iteration 1, ..., whose clusters the next one learns"
    )
    parser.add_argument(
        "--start",
        type=Path,
        metavar="CHECKPOINT",
        help="a HuBERT that came of earlier iterations: iteration 1 starts from its weights and learns the clusters of its layer, "
        "the first of --layers, instead of those of MFCCs",
    )
    parser.add_argument(
        "--grow", type=int, metavar="LAYERS", help="iteration 1 has more layers than --start: copies of its last ones"
    )
    parser.add_argument(
        "--half", action="store_true", help="write the weights of --out in float16, for a file of half the size"
    )
    parser.add_argument(
        "--window",
        type=int,
        default=1,
        metavar="FRAMES",
        help="a layer is smoothed over so many frames, an odd number, before it is clustered (default 1)",
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        metavar="CHECKPOINT",
        help="like --start, but iteration 1 starts from random weights, so that the model may have another shape",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FOLDER",
        help="iteration 1 learns these labels, 50 a second, instead of clusters of MFCCs: train.km and valid.km with a row for each file of "
        "--speech, and dict.km.txt",
    )
    parser.add_argument(
        "--speeds",
        type=float,
        nargs="+",
        help="train on copies of the speech at these speeds, such as 0.9 1 1.1, which are written to WORK; pitch and formants change with them",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="YAML",
        help="what differs from base/hubert_demo.yaml, such as base/hubert_gpu.yaml",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="more keys of the configuration, for all iterations"
    )
    args = parser.parse_intermixed_args()
    if sum(map(bool, (args.start, args.teacher, args.labels))) > 1:
        parser.error("give one of --start, --teacher and --labels: each gives the labels of iteration 1")
    teacher = args.start or args.teacher
    named = len(args.layers) + (not teacher)
    if not len(args.clusters) == len(args.updates) == named:
        parser.error(
            "--updates and --clusters need a number an iteration; --layers one less without --start or --teacher, as each names the layer "
            "that the next iteration learns from"
        )
    if args.mask_prob and len(args.mask_prob) != len(args.updates):
        parser.error("--mask-prob needs a number an iteration")
    if args.window < 1 or args.window % 2 == 0:
        parser.error("--window is an odd number of frames")
    if args.grow and not args.start:
        parser.error("--grow needs --start: without, model.encoder_layers=N gives all iterations so many layers")
    speech, work = [folder.resolve() for folder in args.speech], args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)

    # fairseq validates on "valid"
    for split, name, folders in (
        ("train", "train", speech),
        ("dev", "valid", speech[:1]),
    ):
        if not (work / f"{name}.tsv").exists():
            write_manifest(folders, split, work / f"{name}.tsv")
    paths = {name: read_manifest(work / f"{name}.tsv") for name in ("train", "valid")}

    data = work
    if args.speeds:
        data = work / "copies"
        if not (data / "train.tsv").exists():
            write_copies(work, args.speeds)
    layers = list(args.layers) if teacher else [None, *args.layers]
    weights = args.start
    for iteration, (updates, clusters, layer) in enumerate(zip(args.updates, args.clusters, layers), 1):
        labels, last = work / f"labels_{iteration}", work / f"iteration_{iteration}.pt"
        if not labels.exists() and iteration == 1 and args.labels:
            take_labels(args.labels, labels, paths)
        if not labels.exists() and teacher is None:
            mfcc = {split: mfcc_features(files) for split, files in paths.items()}
            write_labels(
                labels, {split: normalize_mfcc(arrays, mfcc["train"]) for split, arrays in mfcc.items()}, clusters
            )
        elif not labels.exists():
            write_labels(labels, layer_features(teacher, layer, paths, args.window, args.device), clusters)
        if not last.exists():
            label_rate = 100 if teacher is None and not args.labels else 50
            overrides = [f"common.cpu={args.device == 'cpu'}", *args.overrides]
            if args.speeds:
                write_labels_of_copies(labels, args.speeds, label_rate, data / labels.name)
            if args.grow:
                overrides.append(f"model.encoder_layers={args.grow}")
            if args.mask_prob:
                overrides.append(f"model.mask_prob={args.mask_prob[iteration - 1]}")
            if weights is not None:
                start = work / f"start_{iteration}.pt"
                write_start(weights, start, labels / "dict.km.txt", args.grow)
                overrides.append(f"checkpoint.finetune_from_model={start}")
            pretrain(work, iteration, data, args.config, label_rate, updates, *overrides)
        teacher = weights = last

    strip_checkpoint(last, args.out, args.half)
    args.figures.mkdir(parents=True, exist_ok=True)
    with open(args.figures / "pretrain.log", "w") as log:
        for iteration in range(1, len(args.updates) + 1):
            rows = filter(None, map(log_row, open(work / f"iteration_{iteration}.log")))
            log.writelines(f"iteration {iteration}  {row}\n" for row in rows)
    if (speech[0] / "phones" / "dev.tsv").exists():
        measure({args.out.stem: args.out}, speech[0], args.figures)


if __name__ == "__main__":
    main()
