import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.errors import ConfigError, EvaluationError
from spin_fairseq.evaluation.abx import tools as abx_tools
from spin_fairseq.evaluation.abx.measurement import METRICS, AbxMeasurement
from spin_fairseq.evaluation.abx.items import triphone_items
from spin_fairseq.evaluation.confidence import intervals, paired_test, plain
from tests.oracles.abx_oracle import abx_oracle, angle, frames_oracle

needs_tool = pytest.mark.skipif(
    not any(abx_tools.importlib.util.find_spec(module) for module in abx_tools.TOOLS.values()),
    reason="no ABX program: the extra [evaluation] is not installed",
)
KINDS = ("within", "across", "speaker")
PHONES = ("SIL", "AA", "B", "T")


def speech(seed, speakers=3, phones=40, symbols=None):
    """Random labels of one utterance a speaker, few phones in few contexts, so that triphones recur."""
    symbols = symbols or len(PHONES)
    rng = np.random.default_rng(seed)
    return [np.repeat(rng.integers(0, symbols, phones), rng.integers(2, 6, phones)) for _ in range(speakers)]


def some_items(labels, speakers=None):
    return triphone_items(labels, speakers or [f"s{n}" for n in range(len(labels))], symbols=PHONES)


def random_features(labels, rng, width=5):
    return [rng.normal(size=(len(row) // 2, width)).astype(np.float32) for row in labels]


def oracle_items(items, rows):
    found = []
    for i in range(len(items)):
        row = rows[items.utterance[i]]
        frames = frames_oracle(items.onset[i], items.offset[i], 0.02, len(row))
        if frames is not None:
            labels = items.phone[i], items.previous[i], items.next[i], items.speaker[i]
            found.append(([np.atleast_1d(row[k]).tolist() for k in frames], *map(int, labels)))
    return found


def other(x, y):
    return float(x != y)


@needs_tool
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), speakers=st.integers(1, 3), clusters=st.integers(1, 4))
def test_units_equal_the_definition(seed, speakers, clusters):
    labels = speech(seed, speakers)
    rng = np.random.default_rng(seed)
    units, items = [rng.integers(0, clusters, len(row) // 2) for row in labels], some_items(labels)
    found = plain(AbxMeasurement(items, units=units, max_size_group=None, max_x_across=None))
    for kind in KINDS:
        expected = abx_oracle(
            oracle_items(items, units), kind, other, mirrored=abx_tools.installed_tool() == "libriabx2"
        )
        assert found[f"unit_abx_{kind}"] == pytest.approx(
            np.nan if expected is None else expected, abs=1e-6, nan_ok=True
        )


@needs_tool
@pytest.mark.parametrize("seed", range(3))  # fixed: two distances that differ in the last digit alone would be a tie
def test_features_equal_the_definition(seed):
    labels = speech(seed, phones=55)
    features, items = random_features(labels, np.random.default_rng(100 + seed)), some_items(labels)
    found = plain(AbxMeasurement(items, features, max_size_group=None, max_x_across=None))
    for kind in KINDS:
        assert found[f"abx_{kind}"] == pytest.approx(abx_oracle(oracle_items(items, features), kind, angle), abs=1e-6)


def test_every_metric_is_described():
    keys = [metric.key for metric in METRICS]
    assert keys == [f"{prefix}_{kind}" for prefix in ("abx", "unit_abx") for kind in KINDS]


@needs_tool
def test_a_bootstrap_counts_speakers_as_often_as_they_are_drawn():
    labels = speech(7, speakers=4, phones=60)
    features = random_features(labels, np.random.default_rng(8))
    items = some_items(labels)
    measurement = AbxMeasurement(items, features, max_size_group=None, max_x_across=None)
    weights = np.array([[1, 1, 1, 1], [3, 3, 3, 3], [1, 1, 1, 0], [2, 1, 0, 1], [0, 0, 4, 0]])
    values = measurement.values(weights)
    for kind in KINDS:
        for row, error in zip(weights[2:], values[f"abx_{kind}"][2:]):
            expected = abx_oracle(oracle_items(items, features), kind, angle, row)
            assert (error == pytest.approx(expected, abs=1e-6)) if expected is not None else np.isnan(error)
        assert values[f"abx_{kind}"][0] == pytest.approx(values[f"abx_{kind}"][1])
    assert np.isnan([values["abx_across"][-1], values["abx_speaker"][-1]]).all() and np.isfinite(
        values["abx_within"][-1]
    )
    for low, high in intervals(measurement, samples=50).values():
        assert low < high


@needs_tool
def test_perfect_features_and_units():
    """Frames that are their phone, and nothing of the speaker."""
    labels = [row.repeat(2) for row in speech(3, speakers=4, phones=60)]  # no border inside a frame
    frames = [row[::2] for row in labels]
    features = [np.eye(len(PHONES), dtype=np.float32)[row] for row in frames]
    items = some_items(labels)
    found = plain(AbxMeasurement(items, features, frames))
    for prefix in ("abx", "unit_abx"):
        assert found[f"{prefix}_within"] == 0 and found[f"{prefix}_across"] == 0
        assert abs(found[f"{prefix}_speaker"] - 0.5) < 0.1


@needs_tool
def test_features_of_the_speaker_alone():
    labels = speech(4, speakers=4, phones=60)
    rng = np.random.default_rng(5)
    features = [np.eye(4)[n] + 0.001 * rng.normal(size=(len(row) // 2, 4)) for n, row in enumerate(labels)]
    found = plain(
        AbxMeasurement(some_items(labels), features, [np.full(len(row), n) for n, row in enumerate(features)])
    )
    assert found["abx_speaker"] == 0 and found["unit_abx_speaker"] == 0
    assert 0.3 < found["abx_across"] < 0.7 and found["unit_abx_across"] == 0.5 and found["unit_abx_within"] == 0.5


@needs_tool
def test_random_features_and_a_single_unit_are_at_chance():
    """A triphone's duration says nothing of it here, so all that is left is chance."""
    rng = np.random.default_rng(6)
    labels = [np.repeat(rng.integers(1, 4, 120), 4) for _ in range(4)]
    labels = [row[np.flatnonzero(np.diff(row, prepend=0) != 0)].repeat(4) for row in labels]
    features = random_features(labels, rng)
    found = plain(AbxMeasurement(some_items(labels), features, [np.zeros(len(row), int) for row in features]))
    for kind in KINDS:
        assert found[f"abx_{kind}"] == pytest.approx(0.5, abs=0.08)
        assert found[f"unit_abx_{kind}"] == 0.5


@needs_tool
@pytest.mark.parametrize(
    "labels, speakers, reasons",
    [
        (speech(1), ["one"] * 3, {"abx_across": "by one speaker", "abx_speaker": "by one speaker"}),
        ([None] * 3, ["x", "y", "z"], dict.fromkeys([f"abx_{kind}" for kind in KINDS], "phone labels are missing")),
        ([[1, 2, 3]] * 3, ["x", "y", "y"], dict.fromkeys(["abx_within", "abx_across"], "differ in the middle phone")),
        ([[1, 2, 3], [1, 2, 3]], ["x", "y"], {"abx_speaker": "twice by one of them"}),
    ],
)
def test_undefined_metrics_have_reasons(labels, speakers, reasons):
    features = [np.random.default_rng(n).normal(size=(100, 3)) for n in range(len(labels))]
    measurement = AbxMeasurement(some_items(labels, speakers), features)
    found = plain(measurement)
    for key, reason in reasons.items():
        assert np.isnan(found[key]) and reason in measurement.reasons[key]
        assert np.isnan(intervals(measurement, samples=5)[key]).all()
    assert all(np.isfinite(found[key]) == (key not in measurement.reasons) for key in measurement.keys)


@needs_tool
def test_items_behind_the_last_frame_are_left_out():
    labels = speech(2, phones=110)
    features = random_features(labels, np.random.default_rng(3))
    short = [row[: len(row) // 2] for row in features]
    items = some_items(labels)
    found = plain(AbxMeasurement(items, short, max_size_group=None, max_x_across=None))
    halves = [row[: 2 * len(frames)] for row, frames in zip(labels, short)]
    assert len(some_items(halves)) < len(items)
    for kind in KINDS:
        assert found[f"abx_{kind}"] == pytest.approx(abx_oracle(oracle_items(items, short), kind, angle), abs=1e-6)


@needs_tool
def test_same_seed_same_metrics_and_the_input_stays():
    labels = speech(9, speakers=4, phones=80)
    features = random_features(labels, np.random.default_rng(1))
    kept = [row.copy() for row in features]
    measurements = [AbxMeasurement(some_items(labels), features, max_size_group=2, max_x_across=2) for _ in range(2)]
    assert plain(measurements[0]) == plain(measurements[1])
    assert all((row == other).all() for row, other in zip(features, kept))
    full = AbxMeasurement(some_items(labels), features, max_size_group=None, max_x_across=None)
    assert len(full.cells["abx_across"].error) > len(measurements[0].cells["abx_across"].error)
    test = paired_test(measurements[0], full, samples=20)
    assert test["abx_across"]["difference"] == pytest.approx(
        plain(measurements[0])["abx_across"] - plain(full)["abx_across"]
    )


def test_bad_features_are_named():
    labels = speech(1, speakers=2)
    items = triphone_items(labels, ["x", "y"], symbols=PHONES, utterances=["u", "v"])
    features = random_features(labels, np.random.default_rng(0))
    with pytest.raises(EvaluationError, match="1 arrays of features for 2 utterances"):
        AbxMeasurement(items, features[:1])
    with pytest.raises(EvaluationError, match="needs features or units"):
        AbxMeasurement(items)
    features[1][4, 2] = np.nan
    with pytest.raises(EvaluationError, match="utterance 'v' has a feature that is NaN or infinite, first in frame 4"):
        AbxMeasurement(items, features)
    with pytest.raises(EvaluationError, match="1 rows of units for 2 utterances"):
        AbxMeasurement(items, units=[[1, 2]])


@needs_tool
def test_too_small_a_draw_is_refused():
    labels = speech(1, speakers=2)
    with pytest.raises(ConfigError, match="max_x_across is 1"):
        AbxMeasurement(some_items(labels), random_features(labels, np.random.default_rng(0)), max_x_across=1)


def test_without_a_program_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(abx_tools, "TOOLS", {"fastabx": "no_such_module"})
    labels = speech(1, speakers=2)
    with pytest.raises(ConfigError, match=r"pip install 'spin_fairseq\[evaluation\]'"):
        AbxMeasurement(some_items(labels), random_features(labels, np.random.default_rng(0)))


def test_equals_the_program_on_the_item_file(tmp_path):
    """fastabx by itself, from files: the same frames, cells and averages; all cells, since it draws in no fixed order."""
    fastabx = pytest.importorskip("fastabx")
    torch = pytest.importorskip("torch")
    labels = speech(11, speakers=4, phones=80)
    items = some_items(labels)
    features = [rows + 1 for rows in random_features(labels + labels[:1], np.random.default_rng(2))][:4]
    features = [np.concatenate([rows, rows[-1:]]) for rows in features]  # the program refuses items behind the end
    for name, rows in zip(items.utterances, features):
        torch.save(torch.from_numpy(rows), tmp_path / f"{name}.pt")
    lines = ["#file onset offset #phone prev-phone next-phone speaker"]
    columns = items.utterance, items.onset, items.offset, items.phone, items.previous, items.next, items.speaker
    for utterance, onset, offset, *phones, speaker in zip(*columns):
        names = [items.utterances[utterance], f"{onset / 100:.2f}", f"{offset / 100:.2f}"]
        lines.append(" ".join([*names, *(items.phones[phone] for phone in phones), items.speakers[speaker]]))
    (tmp_path / "dev.item").write_text("\n".join(lines) + "\n")
    found = plain(AbxMeasurement(items, features, max_size_group=None, max_x_across=None))
    for speaker in ("within", "across"):
        own = fastabx.zerospeech_abx(
            tmp_path / "dev.item", tmp_path, max_size_group=None, max_x_across=None, speaker=speaker, progress=False
        )
        assert found[f"abx_{speaker}"] == pytest.approx(own, abs=1e-6)
    task = fastabx.Task(
        fastabx.Dataset.from_item(tmp_path / "dev.item", tmp_path, 50, progress=False),
        on="speaker", by=["next-phone", "prev-phone", "#phone"],
    )  # fmt: skip
    own = fastabx.Score(task, "angular", progress=False).collapse(levels=[("next-phone", "prev-phone"), "#phone"])
    assert found["abx_speaker"] == pytest.approx(own, abs=1e-6)
