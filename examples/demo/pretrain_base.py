#!/usr/bin/env python3
"""Pre-train the demo's small base HuBERT with fairseq's own `hubert_pretraining` task.

    python examples/demo/pretrain_base.py --speech SPEECH --work WORK

It wants the environment of `make setup`, and librosa and matplotlib. SPEECH is a LibriSpeech-shaped folder:
{train,dev}/SPEAKER/CHAPTER/*.flac and phones/{train,dev}.tsv. For 55 minutes of speech the two trainings took 47
minutes on a share of two busy CPU cores, and the figures a quarter of that. The stages, each skipped when its output is in WORK:

    1. fairseq manifests                                    WORK/{train,dev}.tsv
    2. k-means (K = 100) of 39-dimensional MFCCs, 100 Hz    WORK/labels_1/{train,valid}.km, dict.km.txt
    3. HuBERT, iteration 1                                  WORK/iteration_1.pt
    4. k-means (K = 200) of a layer of iteration 1, 50 Hz   WORK/labels_2/
    5. HuBERT, iteration 2, from the weights of 1           WORK/iteration_2.pt
    6. the checkpoint without optimiser and paths           --out (hubert_demo.pt)
    7. figures and plots, see measure_base.py               --figures (base/)

It is HuBERT's recipe (Hsu et al. 2021) but for two things that a training so short profits from: MFCCs and a layer's
features are normalised before they are clustered (see normalize_mfcc; of a layer, each utterance's mean is taken), and
iteration 2 starts from iteration 1's weights. base/hubert_demo.yaml holds the rest, and says where it differs from
fairseq's own config.

A third number in --updates and --clusters, and a second in --layers, add a third iteration, also to a WORK that holds two:

    python examples/demo/pretrain_base.py --speech SPEECH --work WORK --updates 1000 500 800 --clusters 100 200 200 --layers 3 3

A training that was stopped goes on at its last checkpoint. No training reads the phone labels: they serve the
figures, and by these (on dev) the MFCCs' normalisation and the default of --layers were chosen.
"""
import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from measure_base import measure
from speech_features import fit_kmeans, hubert_features, load_hubert, mfcc_features, normalize_mfcc, read_manifest, write_manifest

HERE = Path(__file__).resolve().parent
SEED = 1


def layer_features(checkpoint, layer, paths):
    """{split: [(frames, dim)]} of a layer, less the mean of each utterance.

    Without the mean the clusters say less of the speaker and more of the phone (van Niekerk et al. 2021).
    """
    model = load_hubert(checkpoint)
    features = {split: hubert_features(model, files, [layer])[layer] for split, files in paths.items()}
    return {split: [array - array.mean(axis=0) for array in arrays] for split, arrays in features.items()}


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


def write_start(source, target, dictionary):
    """The weights of one iteration as the start of the next: the clusters are new, so their embeddings start anew."""
    import spin_fairseq  # noqa: F401  the allow-list for torch.load
    from fairseq.data import Dictionary

    rows = len(Dictionary.load(str(dictionary)))  # the clusters, and fairseq's special symbols
    state = torch.load(source, map_location="cpu", weights_only=True)
    width = state["model"]["label_embs_concat"].shape[1]
    state["model"]["label_embs_concat"] = torch.rand(rows, width, generator=torch.Generator().manual_seed(SEED))
    state.pop("last_optimizer_state", None)
    torch.save(state, target.with_suffix(".part"))
    target.with_suffix(".part").rename(target)


def pretrain(work, iteration, label_rate, updates, *overrides):
    """Run fairseq-hydra-train; its JSON rows go to WORK/iteration_N.log."""
    run, log = work / f"run_{iteration}", work / f"iteration_{iteration}.log"
    command = [
        str(Path(sys.executable).with_name("fairseq-hydra-train")),
        "--config-dir", str(HERE / "base"), "--config-name", "hubert_demo",
        f"common.user_dir={HERE.parents[1] / 'spin_fairseq'}",  # torch >= 2.6 cannot resume without its allow-list
        f"common.seed={SEED}", f"task.data={work}", f"task.label_dir={work / f'labels_{iteration}'}",
        f"task.label_rate={label_rate}", f"optimization.max_update={updates}",
        f"checkpoint.save_dir={run}", f"hydra.run.dir={run}", *overrides,
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
    return ("{kind} {num_updates:5.0f}  loss {loss:6.3f}  masked {correct_m_0:.3f}  unmasked {correct_u_0:.3f}"
            .format(kind=kind, **figures))


def strip_checkpoint(source, target):
    """A checkpoint as fairseq saves it, without the optimiser's state and any path of this machine."""
    import spin_fairseq  # noqa: F401  the allow-list for torch.load

    state = torch.load(source, map_location="cpu", weights_only=True)
    cfg = state["cfg"]
    cfg["task"].update(data="data", label_dir="labels")
    cfg["common"].update(user_dir=None, tensorboard_logdir=None, log_file=None)
    cfg["common"].update(plasma_path="plasma")
    cfg["checkpoint"].update(save_dir="checkpoints", finetune_from_model=None)
    cfg.pop("job_logging_cfg", None)
    found = [value for value in strings(state) if value.startswith("/") or str(HERE.parents[1]) in value]
    if found:
        raise SystemExit(f"paths are left in the configuration: {found}")
    state.pop("last_optimizer_state", None)
    state["extra_state"].pop("metrics", None)
    torch.save(state, target.with_suffix(".part"))
    target.with_suffix(".part").rename(target)


def strings(tree):
    """All strings in a tree of dicts and lists."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from strings(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from strings(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, usage="python examples/demo/pretrain_base.py --speech SPEECH --work WORK",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="LibriSpeech-shaped folder")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything in between")
    parser.add_argument("--out", type=Path, default=HERE / "hubert_demo.pt", help="the final checkpoint")
    parser.add_argument("--figures", type=Path, default=HERE / "base", help="folder for log, figures and plots")
    parser.add_argument("--clusters", type=int, nargs="+", default=(100, 200), help="K of the labels of iteration 1, 2, ...")
    parser.add_argument("--updates", type=int, nargs="+", default=(1000, 500), help="of iteration 1, 2, ...")
    parser.add_argument("--layers", type=int, nargs="*", default=(3,), help="of iteration 1, ..., whose clusters the next one learns")
    args = parser.parse_args()
    if not len(args.clusters) == len(args.updates) == len(args.layers) + 1:
        parser.error("--updates and --clusters need a number an iteration; --layers one less, as each names the layer "
                     "that the next iteration learns from")
    speech, work = args.speech.resolve(), args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)

    for split, name in (("train", "train"), ("dev", "dev"), ("dev", "valid")):  # fairseq validates on "valid"
        if not (work / f"{name}.tsv").exists():
            write_manifest(speech, split, work / f"{name}.tsv")
    paths = {name: read_manifest(work / f"{name}.tsv") for name in ("train", "valid")}

    for iteration, (updates, clusters) in enumerate(zip(args.updates, args.clusters), 1):
        labels, last = work / f"labels_{iteration}", work / f"iteration_{iteration}.pt"
        if not labels.exists() and iteration == 1:
            mfcc = {split: mfcc_features(files) for split, files in paths.items()}
            features = {split: normalize_mfcc(arrays, mfcc["train"]) for split, arrays in mfcc.items()}
            write_labels(labels, features, clusters)
        elif not labels.exists():
            features = layer_features(work / f"iteration_{iteration - 1}.pt", args.layers[iteration - 2], paths)
            write_labels(labels, features, clusters)
        if not last.exists() and iteration == 1:
            pretrain(work, 1, 100, updates)
        elif not last.exists():
            start = work / f"start_{iteration}.pt"
            write_start(work / f"iteration_{iteration - 1}.pt", start, labels / "dict.km.txt")
            pretrain(work, iteration, 50, updates, f"checkpoint.finetune_from_model={start}")

    strip_checkpoint(last, args.out)
    args.figures.mkdir(parents=True, exist_ok=True)
    with open(args.figures / "pretrain.log", "w") as log:
        for iteration in range(1, len(args.updates) + 1):
            rows = filter(None, map(log_row, open(work / f"iteration_{iteration}.log")))
            log.writelines(f"iteration {iteration}  {row}\n" for row in rows)
    measure(args.out, work, speech / "phones", args.figures)


if __name__ == "__main__":
    main()
