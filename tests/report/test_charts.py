import json
import re

import numpy as np
import pytest

from spin_fairseq.report import charts
from spin_fairseq.report.results import Model, Sweep, Value
from spin_fairseq.report.runs import Run


def accepted(chart):
    """Plotly itself knows all keys and values; colours of the page stand for real ones."""
    from plotly.graph_objects import Figure

    content = json.dumps({"data": chart.traces, "layout": chart.layout}, allow_nan=False)
    Figure(json.loads(re.sub(r"var\(--[a-z]+-\d\)", "#123456", content)))
    return chart


def a_run(name, **curves):
    return Run(name, None, curves={split: {"loss": ([1, 2], values)} for split, values in curves.items()})


def test_training_has_one_chart_a_curve_and_one_line_a_split():
    (chart,) = charts.training_charts([a_run("one", train=[3, 2], train_inner=[3, None], dev=[2, 1])])
    training, validation = accepted(chart).traces
    assert chart.title == "Loss" and training["y"] == [3, None] and "dash" not in training["line"]
    assert (
        validation["y"] == [2, 1] and validation["line"]["dash"] == "dash" and validation["name"] == "validation on dev"
    )
    assert training["line"]["color"] == validation["line"]["color"] == "var(--run-0)"


def test_runs_are_laid_over_each_other():
    (chart,) = charts.training_charts([a_run("one", train=[3, 2]), a_run("<b>two", train=[2, 1]), a_run("none")])
    assert [trace["name"] for trace in chart.traces] == ["one, training", "&lt;b&gt;two, training"]
    assert [trace["line"]["color"] for trace in chart.traces] == ["var(--run-0)", "var(--run-1)"]
    assert charts.training_charts([a_run("none")]) == []


COUNTS = np.array([[0, 1, 8, 0, 0], [9, 1, 0, 0, 6], [0, 0, 0, 0, 0], [1, 0, 1, 0, 4]])  # four phones, five units


def test_heat_map_is_ordered_as_in_the_papers():
    phones, units = charts.phone_order(COUNTS)
    assert phones.tolist() == [1, 0, 3]  # 16, 9 and 6 frames; the third phone does not occur
    # Units of phone 1 first, the surest first; a tie of phones goes to the more frequent one. Unit 3 is not used.
    assert units.tolist() == [0, 4, 1, 2]


def test_heat_map_has_shares_of_each_unit():
    (trace,) = accepted(charts.heat_map("a", COUNTS, ["A", "B", "C", "<D>"])).traces
    assert trace["y"] == ["B", "A", "&lt;D&gt;"] and trace["x"] == ["unit 0", "unit 4", "unit 1", "unit 2"]
    assert trace["z"][0] == [90.0, 60.0, 50.0, 0]
    assert np.sum(trace["z"], 0) == pytest.approx([100] * 4, abs=0.2)
    assert charts.heat_map("a", 0 * COUNTS, list("ABCD")) is None


def test_codebook_use_is_sorted_shares():
    chart = accepted(charts.codebook_chart([(0, "a", {5: 1, 7: 3}), (1, "b", {})]))
    (trace,) = chart.traces
    assert trace["x"] == [1, 2] and trace["y"] == [75, 25]
    assert charts.codebook_chart([(0, "a", {})]) is None


def test_layers_and_the_models_beside_them():
    sweep = Sweep("base", "hubert", 100, [(1, {"pnmi": 0.1, "odd": None}), (2, {"pnmi": 0.3, "odd": 1.0})])
    metrics = {"phones": {"pnmi": Value(0.4)}}
    models = [(0, Model("base", "base", "kmeans", layer=2, metrics=metrics)), (1, Model("spin", "spin", "spin", metrics=metrics)),
              (2, Model("none", "none", "spin"))]  # fmt: skip
    pnmi, odd = charts.layer_charts([(0, "hubert", sweep)], models, {"pnmi": ("phones", "PNMI")})
    curve, level = accepted(pnmi).traces
    assert (
        pnmi.title == "PNMI"
        and curve["x"] == [1, 2]
        and curve["y"] == [0.1, 0.3]
        and curve["line"]["color"] == "var(--model-0)"
    )
    assert curve["marker"]["size"][1] > curve["marker"]["size"][0]  # the chosen layer
    assert level["y"] == [0.4, 0.4] and level["x"] == [1, 2] and level["line"]["color"] == "var(--model-1)"
    assert odd.title == "odd" and odd.traces[0]["y"] == [None, 1.0] and len(odd.traces) == 1
    assert charts.layer_charts([], models, {}) == []
