"""A small training and a small evaluation on synthetic speech, as fairseq and spin-fairseq evaluate leave them behind."""

import json

import numpy as np
import pytest
import yaml

from spin_fairseq.speech.manifest import load_manifest, write_manifest
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.evaluation.clusters import align
from spin_fairseq.extraction.dumping import runs

CLUSTERS = 12
UPDATES = (10, 20, 30, 40)


def make_run(folder, home="/home/me/spin", loss=(3.0, 2.0, float("nan"), 1.5), validation="dev"):
    """A training's folder, written by what fairseq writes with."""
    SummaryWriter = pytest.importorskip("tensorboardX", reason="comes with the extra [test]").SummaryWriter

    for split, curves in (
        ("train_inner", {"loss": loss, "accuracy": (0.2, 0.3, 0.4, 0.5), "lr": (1e-4, 1e-3, 5e-4, 0.0)}),
        (validation, {"loss": (2.5, 2.1, 1.9, 1.8), "pnmi": (0.30, 0.34, 0.37, 0.39)}),
    ):
        with SummaryWriter(str(folder / "tensorboard" / split)) as writer:
            writer.add_text("sys.argv", "fairseq-hydra-train")
            for tag, values in curves.items():
                for update, value in zip(UPDATES, values):
                    writer.add_scalar(tag, value, update)
    hidden = folder / ".hydra"
    hidden.mkdir()
    config = {"common": {"seed": 1, "tensorboard_logdir": "tensorboard"}, "task": {"_name": "spin"}}
    (hidden / "config.yaml").write_text(yaml.safe_dump(config))
    (hidden / "overrides.yaml").write_text(
        yaml.safe_dump([f"task.data={home}/my data", f"common.user_dir={home}/spin_fairseq"])
    )
    sources = [{"path": "fairseq.config", "provider": "main"}, {"path": f"{home}/config", "provider": "command-line"}]
    hydra = {"job": {"config_name": "spin_demo"}, "runtime": {"cwd": home, "config_sources": sources},
             "overrides": {"hydra": [f"hydra.run.dir={home}/outputs/x", "hydra.mode=RUN"]}}  # fmt: skip
    (hidden / "hydra.yaml").write_text(yaml.safe_dump({"hydra": hydra}))
    return folder


def metric(value, width=0.02, **more):
    low, high = (None, None) if value is None else (value - width, value + width)
    return {"value": value, "low": low, "high": high, **more}


def make_results(folder, speech, names=("spin", "base"), change=None, phones=True):
    """A folder of results on the dev split of a `Speech`. change: a function that alters the content of results.json."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = load_manifest(speech.data, "dev")
    rows = [(manifest.name(i), int(manifest.sizes[i]), manifest.speaker(i)) for i in range(len(manifest))]
    write_manifest(folder / "data.tsv", manifest.root, rows)
    labels = load_phone_labels(speech.phones, "dev")
    if phones:
        (folder / "phones.tsv").write_text((speech.phones / "dev.tsv").read_text())
    models = []
    for number, name in enumerate(names):
        units = {}
        for i in range(len(manifest)):
            # Two units a phone, one of them wrong now and then: strips that follow the labels, and a table to look at.
            rng = np.random.default_rng([number, i])
            of_phones = labels[manifest.utterance_id(i)][::2].astype(int)
            wrong = rng.random(len(of_phones)) < 0.1 * (number + 1)
            units[manifest.utterance_id(i)] = np.where(wrong, rng.integers(0, CLUSTERS, len(of_phones)), 2 * of_phones)
        for kind in ("units", "counts"):
            (folder / kind).mkdir(exist_ok=True)
        lines = (dict(zip(("id", "units", "durations"), (key, *runs(row)))) for key, row in units.items())
        (folder / "units" / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        pairs = [align(labels[key], row, 0.02) for key, row in units.items()]
        counts = np.zeros((len(labels.symbols), CLUSTERS), np.int64)
        np.add.at(counts, tuple(np.concatenate(side) for side in zip(*pairs)), 1)
        if phones:
            np.savez(folder / "counts" / f"{name}.npz", counts=counts, phones=np.array(labels.symbols))
        models.append({
            "name": name, "spec": f"{name}=x.pt", "kind": "kmeans" if number else "spin", "features": "hubert.pt", "layer": 2 if number else None,
            "clusters": CLUSTERS, "note": "", "errors": {}, "seconds": {"phones": 1.5},
            "metrics": {"phones": {"pnmi": metric(0.5 - 0.1 * number), "phone_purity": metric(0.6)},
                        "speakers": {"speaker_nmi": metric(None, reason="one speaker") if number else metric(0.1)}},
            "units": f"units/{name}.jsonl", "counts": f"counts/{name}.npz",
        })  # fmt: skip
    content = {
        "format": 2, "command": "spin-fairseq evaluate", "finished": True, "versions": {"torch": "2.0"},
        "data": {"manifests": ["dev.tsv"], "phones": None, "utterances": len(rows), "labelled": len(rows), "seconds": 9.0, "speakers": 4},
        "options": {"samples": 1000, "level": 0.95, "train": None}, "models": models,
        "layers": [{"model": names[-1], "features": "hubert.pt", "clusters": CLUSTERS,
                    "layers": [{"layer": n, "metrics": {"pnmi": 0.1 * n, "phone_purity": None}} for n in (1, 2, 3)]}],
        "paired": [{"group": "phones", "metric": "pnmi", "a": names[0], "b": names[-1], "difference": 0.1, "low": 0.05, "high": 0.15, "p": 0.002}],
    }  # fmt: skip
    if change:
        change(content)
    (folder / "results.json").write_text(json.dumps(content))
    return folder
