#!/usr/bin/env python3
"""HuBERT's next iteration on Spin's units beside one on k-means of the same base, on the demo's speech.

    python examples/spin_hubert/next_iteration.py --seeds 1 2 3

For each seed it trains Spin on the base with config/spin_demo.yaml; makes targets of its units, and of k-means of --layer of the base with
as many clusters; and trains two HuBERTs by fairseq's own `hubert_pretraining` with examples/demo/base/hubert_demo.yaml, from the
weights of the base, with equal updates and the same batches. It measures each layer of both on dev (as
examples/demo/compare_depths.py does), and the targets themselves, and writes the tables to --page
(outputs/spin_hubert/results.md). RESULTS.md has those of other speech and their command.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
DEMO = REPOSITORY / "examples" / "demo"
sys.path[:0] = [str(DEMO), str(HERE)]

from compare_depths import METRICS, features_of, layer_tables, measure  # noqa: E402
from label_folder import write_split  # noqa: E402
from means import mean_text  # noqa: E402
from base_checkpoints import read_checkpoint, write_start  # noqa: E402
from pretrain_base import TRAIN  # noqa: E402
from trainings import (  # noqa: E402
    PYTHON,
    add_arguments,
    command_line,
    over_seeds,
    parse_arguments,
    phone_metrics,
    run,
    train,
)

from spin_fairseq.checkpoints import load_encoder, load_spin  # noqa: E402
from spin_fairseq.evaluation.confidence import plain  # noqa: E402
from spin_fairseq.evaluation.corpus import load_corpus  # noqa: E402
from spin_fairseq.evaluation.features.kmeans import fit_centroids  # noqa: E402
from spin_fairseq.evaluation.metrics.speakers import SpeakerMeasurement  # noqa: E402
from spin_fairseq.training_command import quote_override  # noqa: E402

SPLITS = ("train", "dev")
# What says how large a HuBERT is; the new one is as large as the base.
SHAPE = (
    "encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads", "final_dim", "untie_final_proj",
    "conv_feature_layers", "conv_pos", "conv_pos_groups", "extractor_mode",
)  # fmt: skip


def write_spin_units(checkpoint, data, folder):
    for split in SPLITS:
        manifest, units = data / f"{split}.tsv", folder / f"{split}.km"
        run([*PYTHON, "units", checkpoint, manifest, "--out", units, "--overwrite", "--quiet"])


def write_kmeans_units(base, layer, clusters, corpora, seed, folder):
    """Units of a layer of the base in the files that `spin-fairseq units` would write."""
    import numpy as np

    encoder = load_encoder(base)
    features = [features_of(encoder, corpus)[layer] for corpus in corpora]
    centroids = fit_centroids(np.concatenate(features[0]), clusters, seed)
    offset = (centroids**2).sum(1) / 2
    folder.mkdir(parents=True, exist_ok=True)
    for split, corpus, arrays in zip(SPLITS, corpora, features):
        rows = (" ".join(map(str, (rows @ centroids.T - offset).argmax(1))) for rows in arrays)
        (folder / f"{split}.km").write_text("".join(row + "\n" for row in rows))
        (folder / f"{split}.ids").write_text("".join(name + "\n" for name in corpus.ids))


def quality_of_targets(folder, corpus, clusters):
    """PNMI and speaker NMI of the targets of dev."""
    import numpy as np

    units = [np.array(row.split(), dtype=int) for row in (folder / "dev.km").read_text().splitlines()]
    phones = phone_metrics(corpus, units, clusters, 0.02)
    return {
        "pnmi": phones["pnmi"],
        "speaker_nmi": plain(SpeakerMeasurement(corpus.speakers, units, clusters))["speaker_nmi"],
    }


def pretrain(args, folder, labels, seed):
    """-> the checkpoint of fairseq's own pre-training on the targets in `labels`, from the weights of the base."""
    last = folder / "checkpoint_last.pt"
    if (folder / "finished").exists():
        return last
    folder.mkdir(parents=True, exist_ok=True)
    start = folder / "start.pt"
    write_start(args.base, start, labels / "dict.km.txt")
    shape = read_checkpoint(args.base)["cfg"]["model"]
    command = [
        sys.executable, "-c", TRAIN, "--config-dir", DEMO / "base", "--config-name", "hubert_demo",
        f"common.user_dir={REPOSITORY / 'spin_fairseq'}", f"common.seed={seed}", "common.log_format=none", "common.cpu=true",
        f"task.data={labels}", f"task.label_dir={labels}", "task.label_rate=50",
        "dataset.valid_subset=dev", f"dataset.max_tokens={args.batch_seconds * 16000}", "dataset.num_workers=0",
        f"optimization.max_update={args.pretrain_updates}", f"dataset.validate_interval_updates={args.pretrain_updates}",
        f"lr_scheduler.warmup_updates={max(1, args.pretrain_updates // 10)}", "optimization.lr=[0.0005]",
        f"checkpoint.save_dir={folder}", f"hydra.run.dir={folder}", f"checkpoint.finetune_from_model={start}",
        *(quote_override(f"model.{key}", str(shape[key])) for key in SHAPE),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(REPOSITORY)}
    if subprocess.run(list(map(str, command)), cwd=REPOSITORY, env=environment).returncode:
        sys.exit("error: fairseq-hydra-train failed, its own words are above")
    (folder / "finished").touch()
    return last


def page(results, targets, args, clusters, command):
    import numpy as np

    lines = [
        "# HuBERT's next iteration: on Spin's units, and on k-means",
        "",
        f"{over_seeds(args.seeds)} on the dev split; {clusters} targets each, {args.pretrain_updates} updates of "
        f"{args.batch_seconds} s from the weights of the base. Spin had {args.updates} updates; k-means is of layer {args.layer}.",
        "",
        f"    {command}",
        "",
        "## The targets",
        "",
        "| | PNMI | speaker NMI |",
        "|---|---|---|",
    ]
    for title, runs in targets.items():
        cells = (mean_text(np.array([run[key] for run in runs])) for key in ("pnmi", "speaker_nmi"))
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join([*lines, *layer_tables(results, METRICS)]) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(
        usage="python examples/spin_hubert/next_iteration.py [options] [KEY=VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, "spin_hubert")
    parser.add_argument(
        "--layer", type=int, default=3, help="of the base, whose k-means is the other target (default 3)"
    )
    parser.add_argument("--pretrain-updates", type=int, default=100, help="of each HuBERT (default 100)")
    parser.add_argument("--batch-seconds", type=int, default=20, help="of HuBERT's batches (default 20)")
    args = parse_arguments(parser, argv)
    corpora = load_corpus([args.out / "train.tsv"]), load_corpus([args.out / "dev.tsv"], [args.speech / "phones"])
    results = {"the base": [], "HuBERT on k-means": [], "HuBERT on Spin's units": []}
    targets = {"k-means": [], "Spin's units": []}
    for seed in args.seeds:
        folder = args.out / f"seed_{seed}"
        spin = train(args, seed, [])
        clusters = len(load_spin(spin).head.prototypes[0])
        write_spin_units(spin, args.out, folder / "units_spin")
        write_kmeans_units(args.base, args.layer, clusters, corpora, seed, folder / "units_kmeans")
        results["the base"].append(measure(args.base, *corpora, seed))
        for name, of_targets, title in zip(("kmeans", "spin"), targets, list(results)[1:]):
            units, labels = folder / f"units_{name}", folder / f"labels_{name}"
            labels.mkdir(parents=True, exist_ok=True)
            for split in SPLITS:
                write_split(args.out, units, split, clusters, labels)
            (labels / "dict.km.txt").write_text("".join(f"{unit} 1\n" for unit in range(clusters)))
            targets[of_targets].append(quality_of_targets(units, corpora[1], clusters))
            results[title].append(measure(pretrain(args, folder / f"hubert_{name}", labels, seed), *corpora, seed))
            print(seed, title, results[title][-1], flush=True)
    command = command_line("spin_hubert/next_iteration.py", args, parser)
    text = page(results, targets, args, clusters, command)
    args.page.write_text(text)
    (args.out / "results.json").write_text(json.dumps({"targets": targets, "layers": results}, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    main()
