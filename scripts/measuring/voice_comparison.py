"""How far one engine's changed voices are from another's: figures, a page and plots of the cases measured.

A case is a dict of numbers: what `scripts/compare_with_praat.py` measured of one utterance and draw. "praat" is the engine
that is compared with, "praat_again" the same with another seed, "in_place" the same with its contour put in place, and
"native" the one in question.
"""

from typing import NamedTuple

import numpy as np

F0_WITHIN, F0_SLACK = 0.015, 0.005  # of the target
VOICED_WITHIN = 0.08
FORMANT_WITHIN = 0.03
SPECTRUM_WITHIN, LEVEL_WITHIN = 2.0, 1.5  # dB
SHARE_ASKED = 0.92  # of the cases
NEAR_ASKED, VOICING_ASKED = 0.95, 0.93  # of the frames, median over the cases
ENGINES = {
    "native": "native", "praat_again": "Praat, another seed", "praat": "Praat as it is", "in_place": "Praat, contour in place",
}  # fmt: skip


class Figure(NamedTuple):
    """One figure: a share, 0..1, of cases or of frames."""

    name: str
    asked: float  # None: shown for comparison
    values: dict  # engine -> share


def column(rows, name):
    return np.array([row[name] for row in rows], dtype=float)


def f0_error(rows, engine, target="target_f0"):
    """Relative distance of the median f0 from the target."""
    return column(rows, f"{engine}_f0") / column(rows, target) - 1


def f0_met(rows, engine, beside="praat", target="target_f0"):
    """Per case: within 1.5 % of the target, or no more than half a point farther off than Praat."""
    own, praats = (np.abs(f0_error(rows, name, target)) for name in (engine, beside))
    return own <= np.maximum(F0_WITHIN, praats + F0_SLACK)


def formant_error(rows, engine, n):
    """Relative distance of the ratio of formant `n` to the input's from the ratio asked for."""
    return column(rows, f"{engine}_F{n}") / column(rows, "formant_ratio") - 1


def formant_met(rows, engine, n):
    """Per case: within 3 % of the ratio asked for, or no farther off than Praat; NaN where nothing was measured."""
    own, praats = (np.abs(formant_error(rows, name, n)) for name in (engine, "praat"))
    return np.where(np.isfinite(own), own <= np.fmax(FORMANT_WITHIN, praats), np.nan)


def level_met(rows, engine):
    own, praats = (column(rows, f"{name}_level") for name in (engine, "praat"))
    return (np.abs(own) <= LEVEL_WITHIN) | (np.abs(own - praats) <= LEVEL_WITHIN)


def identity_rows(rows):
    return [row for row in rows if row["formant_ratio"] == row["pitch_ratio"] == row["range_ratio"] == 1]


def figures(rows):
    """-> [Figure], for the engine in question and, where that means something, for the others."""

    def each(name, asked, value, engines=("native", "praat_again")):
        return Figure(name, asked, {engine: float(value(engine)) for engine in engines})

    def share(good):
        return np.nanmean(good) if np.isfinite(np.asarray(good, float)).any() else np.nan

    same = identity_rows(rows)
    found = [
        each(
            "cases: median f0 within 1.5 % of the target, or at most half a point farther off than Praat's",
            SHARE_ASKED, lambda e: share(f0_met(rows, e)),
        ),
        Figure(
            "cases: the same beside Praat with its contour in place", SHARE_ASKED,
            {"native": float(share(f0_met(rows, "native", "in_place")))},
        ),
        each(
            "cases: the same, the input's f0 looked for where the outputs' is", SHARE_ASKED,
            lambda e: share(f0_met(rows, e, target="target_f0_alike")),
        ),
        each(
            "cases: median f0 within 1.5 % of the target", None,
            lambda e: share(np.abs(f0_error(rows, e)) <= F0_WITHIN), ENGINES,
        ),
        each(
            "cases: median f0 within 1.5 % of Praat's", None,
            lambda e: share(np.abs(column(rows, f"{e}_f0") / column(rows, "praat_f0") - 1) <= F0_WITHIN),
        ),
        each(
            "cases: voiced fraction within 0.08 of Praat's", SHARE_ASKED,
            lambda e: share(np.abs(column(rows, f"{e}_voiced") - column(rows, "praat_voiced")) <= VOICED_WITHIN),
        ),
        *(
            each(
                f"cases: F{n} within 3 % of the ratio asked for, or no farther off than Praat's", SHARE_ASKED,
                lambda e, n=n: share(formant_met(rows, e, n)),
            )
            for n in (1, 2, 3)
        ),
        each(
            "cases: long-term spectrum within 2 dB of Praat's", SHARE_ASKED,
            lambda e: share(column(rows, f"{e}_spectrum") <= SPECTRUM_WITHIN),
        ),
        each("cases: level within 1.5 dB of Praat's or the input's", SHARE_ASKED, lambda e: share(level_met(rows, e))),
        each(
            "identity draws: log-mel distance to the input no larger than Praat's", 1.0,
            lambda e: share(column(same, f"{e}_distance") <= column(same, "praat_distance")),
        ),
        each(
            "frames: f0 within 50 cents of the contour asked for (median over the cases)", None,
            lambda e: np.nanmedian(column(rows, f"{e}_near_asked")), ("native", "praat", "in_place"),
        ),
        each(
            "frames: f0 within 50 cents of Praat's (median over the cases)", None,
            lambda e: np.nanmedian(column(rows, f"{e}_near")),
        ),
        each(
            "frames: same voicing as Praat's (median over the cases)", VOICING_ASKED,
            lambda e: np.median(column(rows, f"{e}_voicing")),
        ),
        *(
            each(
                f"frames: {words}, Praat with its contour in place (median over the cases)", asked,
                lambda e, key=key: np.nanmedian(column(rows, f"{e}_{key}_in_place")), ("native", "praat"),
            )
            for words, key, asked in (("f0 within 50 cents", "near", NEAR_ASKED), ("same voicing", "voicing", VOICING_ASKED))
        ),
    ]  # fmt: skip
    return found


def _share(value):
    return "" if value is None or not np.isfinite(value) else f"{100 * value:.1f} %"


def markdown(found, rows, about, command):
    """The page: how it was made, the figures, and the same by formant and by pitch ratio."""
    moved = np.abs(column(rows, "target_f0_alike") / column(rows, "target_f0") - 1)
    lines = [
        "# The native perturbation beside Praat's", "", f"    {command}", "",
        f"{about} Everything is measured by Praat's own analysis; the equaliser is off. f0 is looked for in the speaker's range "
        "times the pitch ratio, a quarter wider on either side. The target is the pitch ratio times the median f0 of the input, "
        "which is looked for in the speaker's range as it is; the wider one alone moves that median by up to "
        f"{100 * moved.max():.1f} %, so that the third row looks for it there as well.", "",
        f"| | asked | {' | '.join(ENGINES.values())} |", "|---" * (2 + len(ENGINES)) + "|",
    ]  # fmt: skip
    for figure in found:
        mark = "" if figure.asked is None else " ✓" if figure.values["native"] >= figure.asked else " ✗"
        cells = [_share(figure.values.get(engine)) + mark * (engine == "native") for engine in ENGINES]
        lines.append(f"| {figure.name} | {_share(figure.asked)} | {' | '.join(cells)} |")
    lines += [
        "",
        "Where formants move, Praat's contour comes 11 to 20 ms early: it takes the first frame's time for half a step. The native "
        "engine does not copy that. Contours are therefore compared with those of Praat as it is, and of Praat given a contour whose "
        "first frame does lie there, which puts it in place. The contour asked for is that of the input, its distance from the "
        "median times the range ratio, all of it times the pitch ratio: neither engine is the yardstick. "
        "The median is touched too: f0 mostly falls towards the end of a stretch, where the voice is faint; an early contour "
        "lays its low values where they are louder, and more of them are measured.",
    ]
    for name, title in (
        ("formant_ratio", "formant ratio"),
        ("pitch_ratio", "pitch ratio"),
        ("range_ratio", "range ratio"),
    ):
        lines += [
            "", f"| {title} | f0: met | within 1.5 %: native | Praat | F1 to F3: met | spectrum, dB | level, dB | near, in place | same voicing, in place |",
            "|---" * 9 + "|",
        ]  # fmt: skip
        for value in sorted({row[name] for row in rows}):
            some = [row for row in rows if row[name] == value]
            formants = np.nanmean([formant_met(some, "native", n) for n in (1, 2, 3)])
            lines.append(
                f"| {value:.3f} | {_share(f0_met(some, 'native').mean())} "
                + "".join(f"| {_share(np.mean(np.abs(f0_error(some, e)) <= F0_WITHIN))} " for e in ("native", "praat"))
                + f"| {_share(formants)} | {np.median(column(some, 'native_spectrum')):.2f} "
                f"| {np.median(column(some, 'native_level') - column(some, 'praat_level')):+.2f} "
                f"| {_share(np.nanmedian(column(some, 'native_near_in_place')))} "
                f"| {_share(np.median(column(some, 'native_voicing_in_place')))} |"
            )
    lines += ["", "Spectrum, level, near and voicing: medians of native beside Praat."]
    return "\n".join(lines) + "\n"


def plot(rows, path):
    """Six panels, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 6.4), layout="constrained")
    names = {"praat": "Praat", "praat_again": "Praat, another seed", "native": "native"}
    for engine, name in names.items():
        axes[0, 0].plot(np.sort(100 * np.abs(f0_error(rows, engine))), np.linspace(0, 100, len(rows)), label=name)
    axes[0, 0].axvline(100 * F0_WITHIN, color="0.6", lw=0.8)
    axes[0, 0].set(xlabel="median f0 off the target by, %", ylabel="cases, %", xlim=(0, 8), ylim=(0, 100))
    axes[0, 0].legend(frameon=False)
    for engine in ("praat", "native"):
        for n in (1, 2, 3):
            error = 100 * np.abs(formant_error(rows, engine, n))
            error = np.sort(error[np.isfinite(error)])
            axes[0, 1].plot(error, np.linspace(0, 100, len(error)), f"C{n}", ls="-" if engine == "native" else ":",
                            label=f"F{n}, {names[engine]}")  # fmt: skip
    axes[0, 1].axvline(100 * FORMANT_WITHIN, color="0.6", lw=0.8)
    axes[0, 1].set(
        xlabel="ratio of a formant off the one asked for by, %", ylabel="cases, %", xlim=(0, 12), ylim=(0, 100)
    )
    axes[0, 1].legend(frameon=False, fontsize=7)
    axes[0, 2].plot(column(rows, "praat_voiced"), column(rows, "native_voiced"), ".", ms=3)
    axes[0, 2].axline((0, 0), slope=1, color="0.6", lw=0.8)
    axes[0, 2].set(xlabel="voiced fraction, Praat", ylabel="voiced fraction, native", xlim=(0, 1), ylim=(0, 1))
    panels = (
        (axes[1, 0], "spectrum", "long-term spectrum: distance from Praat's, dB", np.linspace(0, 4, 41), 1),
        (axes[1, 1], "near", "frames within 50 cents of Praat's f0, %", np.linspace(0, 100, 41), 100),
        (axes[1, 2], "voicing", "frames with Praat's voicing, %", np.linspace(80, 100, 41), 100),
    )
    for axis, key, label, bins, scale in panels:
        for engine in ("praat_again", "native"):
            axis.hist(scale * column(rows, f"{engine}_{key}"), bins, histtype="step", label=names[engine])
        if key == "near":
            axis.hist(
                scale * column(rows, "native_near_in_place"), bins, histtype="step", label="native, Praat in place"
            )
        axis.set(xlabel=label, ylabel="cases")
        axis.legend(frameon=False, fontsize=7)
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format="png", dpi=100)
    plt.close(figure)
    part.replace(path)
