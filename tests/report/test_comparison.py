from types import SimpleNamespace

import pytest

from spin_fairseq.evaluation.metrics.metric import Metric
from spin_fairseq.report.comparison import compare, opening
from spin_fairseq.report.results import Model, Value

GROUPS = {
    "phones": SimpleNamespace(title="Phones", metrics=(Metric("pnmi", "PNMI", "higher", "I / H", "a paper"),
                                                       Metric("h", "H", "lower", "-", "a paper", "bit"))),
    "tokens": SimpleNamespace(title="Tokens", metrics=(Metric("rate", "rate", "", "-", "a paper"),)),
}  # fmt: skip


def model(name, **metrics):
    return Model(name, name, metrics=metrics)


def test_a_row_has_definition_bars_and_the_best():
    a = model("a", phones={"pnmi": Value(0.4, 0.3, 0.5), "h": Value(3.0)})
    b = model("b", phones={"pnmi": Value(0.2), "h": Value(2.0)})
    (group,) = compare([a, b], GROUPS)
    pnmi, h = group.rows
    assert group.title == "Phones" and pnmi.definition == "I / H" and h.unit == "bit"
    first, second = pnmi.cells
    assert (first.left, first.width, first.low, first.high) == (0, 80, 60, 100) and first.interval == "0.300 to 0.500"
    assert (second.left, second.width, second.low, second.interval) == (0, 40, None, "")
    assert [cell.best for cell in pnmi.cells] == [True, False] and [cell.best for cell in h.cells] == [False, True]


def test_bars_of_negative_metrics_end_at_zero():
    (group,) = compare(
        [model("a", tokens={"rate": Value(-1.0)}), model("b", tokens={"rate": Value(1.0, -0.5, 1.0)})], GROUPS
    )
    a, b = group.rows[0].cells
    assert (a.left, a.width) == (0, 50) and (b.left, b.width, b.low, b.high) == (50, 50, 25, 100)
    assert not a.best and not b.best  # neither more nor less is better


def test_what_is_equal_or_alone_is_not_the_best():
    for models in ([model("a", phones={"pnmi": Value(0.5)})], [model(n, phones={"pnmi": Value(0.5)}) for n in "ab"]):
        assert not any(cell.best for cell in compare(models, GROUPS)[0].rows[0].cells)


def test_what_is_undefined_says_why():
    a = model("a", phones={"pnmi": Value(0.0), "h": Value(None, reason="no labels")}, other={"new": Value(5.0)})
    b = model("b", phones={"pnmi": Value(None, reason="one phone"), "h": Value(None, reason="no labels")})
    b.errors = {"tokens": "out of memory", "units": "unreadable"}
    groups = {group.key: group for group in compare([a, b], GROUPS)}
    assert list(groups) == ["phones", "tokens", "other", "units"]  # known groups in their order, then the others
    (pnmi,) = groups["phones"].rows
    assert pnmi.cells[1].reason == "one phone" and pnmi.cells[1].width == 0 and pnmi.cells[0].width == 0
    assert groups["phones"].missing == {"no labels": ["H"]}
    assert groups["tokens"].errors == [(1, "out of memory")] and groups["tokens"].rows == []
    (new,) = groups["other"].rows
    assert new.title == "New" and new.cells[1].text == "–" and new.cells[1].reason == ""
    assert compare([], GROUPS) == []


def test_bars_stay_inside():
    (group,) = compare(
        [model("a", phones={"h": Value(5.0, 4.0, 9.0)}), model("b", phones={"h": Value(1.0, 0.5, 1.5)})], GROUPS
    )
    for cell in group.rows[0].cells:
        assert 0 <= cell.left <= cell.left + cell.width <= 100 and 0 <= cell.low <= cell.high <= 100
        assert cell.high - cell.low == pytest.approx(100 * {"5.000": 5, "1.000": 1}[cell.text] / 9, abs=0.02)


def opened(*models):
    """[(key, texts of its cells)] of what a page of these models opens with, phones left out."""
    for one in models:
        one.metrics["phones"] = {"pnmi": Value(0.5)}
    rows = opening(compare(models, GROUPS))
    return [(row.key, [cell.text for cell in row.cells]) for row in rows if row.key != "pnmi"]


def test_the_opening_has_speaker_nmi_above_chance_where_it_was_measured():
    """Guards against models compared by speaker NMI of which most is chance, and against none where it alone is known."""
    old = model("old", speakers={"speaker_nmi": Value(0.2)})
    new = [model(n, speakers={"speaker_nmi": Value(0.2), "speaker_nmi_above_chance": Value(0.1)}) for n in "ab"]
    assert opened(*new) == [("speaker_nmi_above_chance", ["0.100", "0.100"])]
    assert opened(old, old) == [("speaker_nmi", ["0.200", "0.200"])]
    assert opened(*new, old) == [("speaker_nmi", ["0.200", "0.200", "0.200"])]


@pytest.mark.parametrize(
    "widths, compares", [((64, 64), True), ((192, 64), False), ((64, None), False), ((None, None), False)]
)
def test_speaker_accuracies_compare_at_equal_width(widths, compares):
    """Guards against a page where 192 dimensions stand beside 64 as if the rest were the model."""
    groups = {
        "speakers": SimpleNamespace(
            title="Speakers", metrics=(Metric("speaker_accuracy", "accuracy", "lower", "-", "-"),)
        )
    }
    models = [
        model(name, speakers={"speaker_accuracy": Value(value)}) for name, value in (("base", 0.5), ("spin", 0.2))
    ]
    for one, width in zip(models, widths):
        one.width = width
    (row,) = compare(models, groups)[0].rows
    assert row.compares == compares and [cell.best for cell in row.cells] == [False, compares]
    notes = [f"of {width} dimensions" if width else "" for width in widths]
    assert [cell.note for cell in row.cells] == ([""] * 2 if compares else notes)
    assert opened(*models) == ([("speaker_accuracy", ["0.500", "0.200"])] if compares else [])


def test_a_speaker_accuracy_alone_needs_no_width():
    """Guards against a warning about a comparison where there is none."""
    models = [model("a", speakers={"speaker_accuracy": Value(0.5)}), model("b", speakers={})]
    (row,) = compare(models, {})[0].rows
    assert row.compares and [cell.note for cell in row.cells] == ["", ""]
