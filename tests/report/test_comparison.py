from types import SimpleNamespace

import pytest

from spin_fairseq.evaluation.metrics.metric import Metric
from spin_fairseq.report.comparison import compare
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
