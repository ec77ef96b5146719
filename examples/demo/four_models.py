"""MFCCs, the base, Spin's start and Spin side by side: what is measured of the four, and the table of it.

Nothing of the package is imported until something is measured, so that a demo that has nothing to do ends at once.
"""

import json
from itertools import groupby

import numpy as np
from means import change_text, mean_text

MODELS = {"mfcc": "MFCC, k-means", "base": "base, k-means", "start": "Spin, start", "spin": "Spin"}
PHONES, SPEAKERS = "phones kept", "speakers gone"
METRICS = {  # key: (group of spin-fairseq evaluate, title, whether more is better, what it is about)
    "pnmi": ("phones", "PNMI", True, PHONES),
    "phone_purity": ("phones", "phone purity", True, PHONES),
    "cluster_purity": ("phones", "cluster purity", True, PHONES),
    "abx_across": ("abx", "phone ABX error across speakers, features", False, PHONES),
    "speaker_nmi_above_chance": ("speakers", "speaker NMI of units, above chance", False, SPEAKERS),
    "speaker_nmi": ("speakers", "speaker NMI of units", False, SPEAKERS),
    "ued_formants": ("robustness", "unit edit distance, other formants", False, SPEAKERS),
    "ued_pitch": ("robustness", "unit edit distance, other pitch", False, SPEAKERS),
    "speaker_accuracy_equal_width": (None, "speaker accuracy, features of equal width", False, SPEAKERS),
    "speaker_accuracy": (None, "speaker accuracy, features as they are", False, SPEAKERS),
}
GROUPS = ",".join(dict.fromkeys(group for group, *_ in METRICS.values() if group))
# One update that changes nothing, so that fairseq writes the model that a training begins with.
START = ["optimization.max_update=1", "optimization.lr=[0.0]", "lr_scheduler.end_learning_rate=0.0"]


def measured(evaluation, cache, corpus, base, checkpoints, done=lambda: None):
    """{"mfcc", "base", "start", "spin": {metric: value, None where there is none}}, and the base's layer and all widths.

    evaluation: folder of spin-fairseq evaluate on the corpus, with these four; cache: that of its features. checkpoints:
    {"start", "spin": path}. done: called after each of the four.

    Speaker accuracy: speakers of the corpus are not those of training, so the classifier is fitted on half of the
    utterances of each and asked about the other half. At equal width it sees as many principal components of wider features as
    Spin's embeddings have dimensions.
    """
    from threadpoolctl import threadpool_limits

    from spin_fairseq.evaluation.features.cache import FeatureCache
    from spin_fairseq.evaluation.features.representations import EncoderSource, MfccSource, SpinSource
    from spin_fairseq.evaluation.metrics.speakers import speaker_accuracy

    cache = FeatureCache(cache)
    sources = {"mfcc": MfccSource(), "base": EncoderSource(base), **{k: SpinSource(v) for k, v in checkpoints.items()}}
    models = {model["name"]: model for model in json.loads((evaluation / "results.json").read_text())["models"]}
    narrowest = sources["spin"].width(None)
    fitted, asked = halves(corpus.speakers)
    results = {}
    for name, source in sources.items():
        layer, metrics = models[name]["layer"], models[name]["metrics"]
        width = source.width(layer)
        row = {"speaker_nmi_chance": metrics["speakers"]["speaker_nmi_chance"]["value"]}
        row |= {key: metrics.get(group, {}).get(key, {}).get("value") for key, (group, *_) in METRICS.items()}
        features = list(cache.layer(source, layer, corpus))
        split = [
            part
            for rows in (fitted, asked)
            for part in ([features[i] for i in rows], [corpus.speakers[i] for i in rows])
        ]
        with threadpool_limits(1):  # its matrices are small: threads wait for each other longer than they work
            row["speaker_accuracy"] = speaker_accuracy(*split)
            row["speaker_accuracy_equal_width"] = (
                speaker_accuracy(*split, width=narrowest) if width > narrowest else row["speaker_accuracy"]
            )
        results[name] = {**row, "width": width}
        done()
    results["base"]["layer"] = models["base"]["layer"]
    return results


def halves(speakers):
    """Indices of utterances, every other one of each speaker: -> (one half, the other)."""
    seen, parts = {}, ([], [])
    for index, speaker in enumerate(speakers):
        parts[seen.get(speaker, 0) % 2].append(index)
        seen[speaker] = seen.get(speaker, 0) + 1
    return parts


def table(results, brief=False):
    """Rows of Markdown: mean ± standard error of several results of `measured`; differences are those within a result.

    brief: without the differences, for a terminal.
    """
    others = {} if brief else {"base": "Spin - base", "start": "Spin - start"}
    columns = [*MODELS.values(), *others.values(), "training's change"]
    rows = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for about, keys in groupby(METRICS, key=lambda key: METRICS[key][3]):
        rows.append(f"| **{about}** |{' |' * len(columns)}")
        for key in keys:
            _, title, more_is_better, _ = METRICS[key]
            of = {name: np.array([result[name][key] for result in results], dtype=float) for name in MODELS}
            cells = [*map(mean_text, of.values()), *(mean_text(of["spin"] - of[name], "+") for name in others)]
            cells.append(change_text(of["spin"], of["start"]))
            rows.append(f"| {title} {'↑' if more_is_better else '↓'} | {' | '.join(cells)} |")
    return rows


def meaning(result):
    """Two sentences that say what the table of one result of `measured` means: beside Spin's own start, and beside the base."""
    about = {
        "pnmi": "what units say of phones (PNMI)",
        "speaker_nmi_above_chance": "what they say of speakers, beyond chance",
        "ued_formants": "how much of them other formants change",
    }

    def changes(name):
        return [change_text([result["spin"][key]], [result[name][key]], 1) for key in about]

    made = [f"{what} by {change}" for what, change in zip(about.values(), changes("start"))]
    beside_base = changes("base")
    return (
        f"Training changes {made[0]}, {made[1]}, and {made[2]}. Beside k-means units of the base, the three differ by "
        f"{beside_base[0]}, {beside_base[1]} and {beside_base[2]}. Training has heard none of these speakers."
    )
