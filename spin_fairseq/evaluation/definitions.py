"""The definition of every metric: for `spin-fairseq evaluate --definitions` and docs/metrics.md."""

import textwrap

from .metrics.robustness import UTTERANCES
from .groups import GROUPS


def page() -> str:
    """Markdown: docs/metrics.md."""
    lines = [
        "# What `spin-fairseq evaluate` measures",
        "",
        "This page is made by `spin-fairseq evaluate --definitions > docs/metrics.md`.",
        "",
        *textwrap.dedent(f"""\
            Units come at the encoder's rate (every 20 ms for HuBERT and WavLM as published), phone labels every 10 ms: each label
            has the unit of the frame in which its middle lies. All metrics are over all frames or utterances of the evaluated data,
            and deterministic: the same command gives the same numbers on the same machine.

            Brackets in tables are bootstrap intervals over utterances (of ABX over speakers), and the differences of two models are
            tested on the same resamples; `spin_fairseq/evaluation/confidence.py` says how. They are quantiles of the resampled
            values, moved so that their median is the measured value: an interval always contains its value. (A resample has fewer
            different utterances. Without the move, metrics that change with the amount of speech would lie beside their interval.)
            Intervals tell how much a metric would vary over other utterances, not over other trainings or other starts of
            k-means. p-values are not corrected for the number of comparisons. Robustness is measured on {UTTERANCES} utterances drawn at random. `counts/NAME.tsv` has the best phone of
            each unit, and which fraction of its frames that phone has.

            MFCCs (`mfcc+kmeans`) are those of HuBERT's first iteration at its frames (`spin_fairseq/evaluation/features/mfcc.py` has the
            definition). k-means is fitted by mini-batches on `--train`; without it on the evaluated data, and the results say so.
            Without `layer=`, the layer is the one whose units have the highest PNMI on the evaluated data, which flatters it
            a little; the curve over layers is in the results.""").splitlines(),
    ]
    for name, one in GROUPS.items():
        needs = " Needs phone labels." if one.needs_phones else ""
        lines += ["", f"## `{name}`: {one.title}", "", *([needs.strip(), ""] if needs else [])]
        lines += ["| metric | key | unit | better | definition | chance | source |", "|---|---|---|---|---|---|---|"]
        for metric in one.metrics:
            cells = (
                metric.title,
                f"`{metric.key}`",
                metric.unit,
                metric.better or "neither",
                metric.definition,
                metric.chance,
                metric.source,
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
