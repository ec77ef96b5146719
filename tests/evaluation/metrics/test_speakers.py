import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import homogeneity_score

from spin_fairseq.errors import ConfigError, EvaluationError
from spin_fairseq.evaluation.confidence import intervals, plain
from spin_fairseq.evaluation.metrics.folds import held_out_folds
from spin_fairseq.evaluation.metrics.speakers import (
    METRICS,
    SpeakerClassifierMeasurement,
    SpeakerMeasurement,
    fit_classifier,
    log_probabilities,
    speaker_accuracy,
)
from tests.oracles.bootstrap_oracle import draws, repeated
from tests.oracles.clusters_oracle import clusters_oracle
from tests.oracles.speaker_probe_oracle import classify

SPEAKERS = ["a", "b", "c", "d"] * 6


def speech(rng, separation, mark=0.0, speakers=SPEAKERS, frames=40):
    """Each speaker has a mean of its own, `separation` from the others, each utterance one of its own, `mark` away."""
    means = {speaker: separation * rng.standard_normal(8) for speaker in sorted(set(speakers))}
    return [means[s] + mark * rng.standard_normal(8) + rng.standard_normal((frames, 8)) for s in speakers]


def accuracy(rng, separation, mark=0.0):
    features = speech(rng, separation, mark, SPEAKERS * 2)
    half = len(SPEAKERS)
    return speaker_accuracy(features[:half], SPEAKERS, features[half:], SPEAKERS, frames=700)


def test_speakers_far_apart_are_told_apart():
    assert accuracy(np.random.default_rng(1), 10.0) > 0.99


def test_features_without_speaker_leave_chance():
    assert abs(accuracy(np.random.default_rng(2), 0.0) - 0.25) < 0.08


def test_what_is_of_an_utterance_alone_does_not_count():
    assert accuracy(np.random.default_rng(3), 0.0, mark=10.0) < 0.6


def test_fewer_components_tell_less_of_the_speaker():
    """Guards against models compared at different widths: the wider one is told apart better by its width alone."""
    rng = np.random.default_rng(4)
    mixing = rng.standard_normal((8, 30))
    features = [row @ mixing for row in speech(rng, 0.7, speakers=SPEAKERS * 2)]
    half = len(SPEAKERS)
    sides = features[:half], SPEAKERS, features[half:], SPEAKERS
    found = [speaker_accuracy(*sides, width=width) for width in (1, 3, 8, 30, None)]
    assert found[0] < found[1] < found[2] and found[3] == found[4] == pytest.approx(found[2], abs=0.03)


def test_one_speaker_is_refused():
    with pytest.raises(ValueError, match="two speakers"):
        speaker_accuracy([np.zeros((5, 2))] * 3, ["a"] * 3, [np.zeros((5, 2))], ["a"])


# Units beside speakers


def random_units(rng, utterances, clusters=6):
    speakers = [str(rng.choice(["x", "y", "z"])) for _ in range(utterances)]
    units = [(ord(s) + rng.integers(0, 3, rng.integers(1, 12))) % clusters for s in speakers]
    return speakers, units


@settings(deadline=None, max_examples=50)
@given(utterances=st.integers(1, 7), seed=st.integers(0, 2**32 - 1))
def test_units_equal_the_oracle_and_scikit_learn(utterances, seed):
    speakers, units = random_units(np.random.default_rng(seed), utterances)
    measurement = SpeakerMeasurement(speakers, units, 6)
    found = plain(measurement)
    if len(set(speakers)) == 1:
        assert np.isnan(list(found.values())).all()
        assert measurement.reasons == dict.fromkeys(found, "there is one speaker only")
        return
    speaker = np.repeat(speakers, [len(row) for row in units]).tolist()
    unit = np.concatenate(units).tolist()
    expected = clusters_oracle(speaker, unit)
    assert (found["speaker_nmi"], found["speaker_purity"]) == pytest.approx(
        (expected["pnmi"], expected["phone_purity"]), abs=1e-9
    )
    assert found["speaker_nmi_above_chance"] == pytest.approx(found["speaker_nmi"] - found["speaker_nmi_chance"])
    assert found["speaker_nmi"] == pytest.approx(homogeneity_score(speaker, unit), abs=1e-6)
    assert not measurement.reasons


@settings(deadline=None, max_examples=25)
@given(utterances=st.integers(2, 7), seed=st.integers(0, 2**32 - 1))
def test_units_a_weight_repeats_an_utterance(utterances, seed):
    rng = np.random.default_rng(seed)
    speakers, units = random_units(rng, utterances)
    weights = draws(rng, 4, utterances)
    found = SpeakerMeasurement(speakers, units, 6).values(weights)
    for row, weight in enumerate(weights):
        expected = plain(SpeakerMeasurement(*repeated(weight, speakers, units), 6))
        expected = {key: expected[key] for key in ("speaker_nmi", "speaker_purity")}  # chance is that of all utterances
        assert {key: found[key][row] for key in expected} == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_units_limits():
    perfect = plain(SpeakerMeasurement(["a", "b", "b"], [[0, 0], [1], [1]], 2))
    assert (perfect["speaker_nmi"], perfect["speaker_purity"]) == pytest.approx((1.0, 1.0))
    blind = plain(SpeakerMeasurement(["a", "b"], [[0, 1, 0, 1], [1, 0]], 2))
    assert (blind["speaker_nmi"], blind["speaker_purity"]) == pytest.approx((0.0, 4 / 6), abs=1e-9)
    one_unit = plain(SpeakerMeasurement(["a", "b"], [[3, 3, 3], [3]], 5))
    assert (one_unit["speaker_nmi"], one_unit["speaker_purity"]) == pytest.approx((0.0, 3 / 4), abs=1e-9)
    assert one_unit["speaker_nmi_chance"] == one_unit["speaker_nmi_above_chance"] == pytest.approx(0, abs=1e-9)
    rng = np.random.default_rng(0)
    random = plain(SpeakerMeasurement(["a", "b"] * 5, [rng.integers(0, 4, 2000) for _ in range(10)], 4))
    assert random["speaker_nmi"] < 0.002 and random["speaker_purity"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("voice, above", [(0.0, 0.0), (0.5, 0.05)])
def test_what_an_utterance_says_is_no_speaker_information(voice, above):
    """Guards against speaker NMI taken for speaker information where it is the words: here each utterance has units of its own."""
    rng = np.random.default_rng(1)
    speakers = [f"speaker {n % 4}" for n in range(200)]
    words = [rng.dirichlet(np.full(20, 0.5)) for _ in speakers]
    units = [
        np.where(rng.random(40) < voice, 5 * (n % 4) + rng.integers(0, 5, 40), rng.choice(20, 40, p=p))
        for n, p in enumerate(words)
    ]
    found = plain(SpeakerMeasurement(speakers, units, 20))
    assert found["speaker_nmi_chance"] > 0.003
    assert found["speaker_nmi_above_chance"] > above if above else abs(found["speaker_nmi_above_chance"]) < 0.003


@pytest.mark.parametrize(
    "speakers, units, message",
    [
        (["a", None], [[0], [1]], "utterance 'two' has no speaker"),
        (["a", ""], [[0], [1]], "utterance 'two' has no speaker"),
        (["a"], [[0], [1]], "1 speakers for 2 utterances"),
        (["a", "b"], [[0], [9]], "utterance 'two' has the unit 9"),
        ([], [], "the split is empty"),
    ],
)
def test_units_that_cannot_be_measured(speakers, units, message):
    with pytest.raises(EvaluationError, match=message):
        SpeakerMeasurement(speakers, units, 2, utterances=["one", "two"])


# Features beside speakers


@pytest.mark.parametrize("seed, names", [(11, 3), (12, 3), (13, 2)])
def test_classifier_equals_the_oracle_fold_by_fold(seed, names):
    rng = np.random.default_rng(seed)
    speakers = [f"s{i}" for i in range(names)] * 2 + [f"s{i}" for i in rng.integers(0, names, 10)]
    mixing = rng.standard_normal((8, 8))
    features = [array[: rng.integers(5, 40)] @ mixing for array in speech(rng, 0.6, 0.3, speakers)]
    measurement = SpeakerClassifierMeasurement(speakers, features, folds=4, fit_frames=10**6, seed=seed)
    folds = held_out_folds(speakers, 4, seed)
    correct, frames, named = (np.zeros(len(speakers)) for _ in range(3))
    for i, array in enumerate(features):
        others = [j for j in range(len(speakers)) if folds[j] != folds[i]]
        train = np.concatenate([features[j] for j in others])
        found, logs = classify(
            train, np.repeat([speakers[j] for j in others], [len(features[j]) for j in others]), array
        )
        correct[i], frames[i] = sum(found[k] == speakers[i] for k in logs.argmax(1)), len(array)
        named[i] = found[logs.sum(0).argmax()] == speakers[i]
    for weights in (np.ones((1, len(speakers))), draws(rng, 1, len(speakers))):
        values = {key: float(value[0]) for key, value in measurement.values(weights).items()}
        # Single precision on one side, double on the other: a frame between two speakers may fall to either.
        assert values["speaker_accuracy"] == pytest.approx(float((weights @ correct / (weights @ frames))[0]), abs=0.01)
        assert values["utterance_speaker_accuracy"] == pytest.approx(
            float((weights @ named)[0] / weights.sum()), abs=1e-9
        )
    spoken = [sum(frames[i] for i in range(len(speakers)) if speakers[i] == name) for name in set(speakers)]
    assert plain(measurement)["speaker_chance"] == pytest.approx(max(spoken) / sum(spoken))


@pytest.mark.parametrize("distance", [0.0, 300.0])
def test_log_probabilities_are_finite(distance):
    x = np.random.default_rng(0).standard_normal((60, 2)).astype(np.float32)
    for names in (2, 3):
        y = np.arange(60) % names
        classifier = fit_classifier(x + y[:, None], y)
        logs = log_probabilities(classifier, x + distance)
        assert np.isfinite(logs).all() and np.exp(logs).sum(1) == pytest.approx(np.ones(60), abs=1e-5)
        assert np.exp(logs) == pytest.approx(classifier.predict_proba(x + distance), abs=1e-5)


def test_the_scale_and_correlation_of_features_do_not_matter():
    rng = np.random.default_rng(9)
    features = speech(rng, 0.5)
    mixing = rng.standard_normal((8, 8)) * 10 ** rng.uniform(-3, 3, 8)
    one, other = (plain(SpeakerClassifierMeasurement(SPEAKERS, [a @ m for a in features])) for m in (np.eye(8), mixing))
    assert one["speaker_accuracy"] == pytest.approx(other["speaker_accuracy"], abs=0.02)


def test_collapsed_features_leave_chance(recwarn):
    found = plain(SpeakerClassifierMeasurement(SPEAKERS, [np.ones((5, 3)) for _ in SPEAKERS]))
    assert found["speaker_accuracy"] < 0.4 and not recwarn.list


def test_classifier_tells_speakers_apart_or_guesses():
    far = plain(SpeakerClassifierMeasurement(SPEAKERS, speech(np.random.default_rng(1), 10.0)))
    assert far["speaker_accuracy"] > 0.99 and far["utterance_speaker_accuracy"] == 1.0 and far["speaker_chance"] == 0.25
    blind = plain(SpeakerClassifierMeasurement(SPEAKERS, speech(np.random.default_rng(2), 0.0)))
    assert abs(blind["speaker_accuracy"] - blind["speaker_chance"]) < 0.08
    # What is of an utterance alone is of no use for the one that is held out.
    marked = plain(SpeakerClassifierMeasurement(SPEAKERS, speech(np.random.default_rng(3), 0.0, mark=10.0)))
    assert marked["speaker_accuracy"] < 0.5


def test_a_whole_utterance_is_easier_to_name():
    measurement = SpeakerClassifierMeasurement(SPEAKERS, speech(np.random.default_rng(4), 0.4))
    found = plain(measurement)
    assert found["speaker_accuracy"] + 0.2 < found["utterance_speaker_accuracy"] < 1.01
    low, high = intervals(measurement)["speaker_accuracy"]
    assert low < found["speaker_accuracy"] < high < 1


def test_few_frames_of_each_are_fitted_on(monkeypatch):
    from spin_fairseq.evaluation.metrics import speakers

    seen, fit = [], speakers.fit_classifier
    monkeypatch.setattr(speakers, "fit_classifier", lambda x, y: seen.append((x, y)) or fit(x, y))
    features = speech(np.random.default_rng(5), 3.0)
    plain(SpeakerClassifierMeasurement(SPEAKERS, features, fit_frames=100, folds=4))
    assert len(seen) == 4
    for x, y in seen:
        assert x.shape == (18 * 6, 8) and (np.unique(y, return_counts=True)[1] % 6 == 0).all()  # 100 / 18, rounded up
    # Together they use every utterance but never one that is scored by the same classifier.
    rows = [{array.astype(np.float32).tobytes() for array in features[i]} for i in range(len(features))]
    used = [[not row.isdisjoint({frame.tobytes() for frame in x}) for row in rows] for x, _ in seen]
    assert np.sum(used, axis=0).tolist() == [3] * len(SPEAKERS)


def test_speakers_with_one_utterance_are_left_out():
    features = speech(np.random.default_rng(6), 10.0, speakers=["a", "a", "b", "b", "c"])
    measurement = SpeakerClassifierMeasurement(["a", "a", "b", "b", "c"], features)
    assert measurement.left_out == ("c",)
    assert plain(measurement) == pytest.approx(plain(SpeakerClassifierMeasurement(["a", "a", "b", "b"], features[:4])))
    assert np.isnan(measurement.values(np.array([[0, 0, 0, 0, 5.0]]))["speaker_accuracy"]).all()


@pytest.mark.parametrize(
    "speakers, reason",
    [
        (["a"] * 4, "one speaker only"),
        (["a", "b", "c", "d"], "two utterances"),
        (["a", "a", "a", "b"], "two utterances"),
    ],
)
def test_too_few_speakers_are_undefined(speakers, reason):
    measurement = SpeakerClassifierMeasurement(speakers, speech(np.random.default_rng(7), 1.0, speakers=speakers))
    assert np.isnan(list(plain(measurement).values())).all()
    assert set(measurement.reasons) == set(measurement.keys) and reason in measurement.reasons["speaker_accuracy"]
    assert np.isnan(list(intervals(measurement, samples=9).values())).all()


def test_empty_utterances_and_half_precision():
    features = [array.astype(np.float16) for array in speech(np.random.default_rng(8), 10.0)]
    features[3] = features[3][:0]
    assert plain(SpeakerClassifierMeasurement(SPEAKERS, features))["speaker_accuracy"] > 0.99


def broken(value=None, width=8):
    features = [np.zeros((5, 8)) for _ in range(3)] + [np.zeros((5, width))]
    if value is not None:
        features[3][2, 1] = value
    return features


@pytest.mark.parametrize(
    "features, message",
    [
        (broken(np.nan), "utterance 'u3' has a feature that is NaN or infinite, first in frame 2"),
        (broken(np.inf), "utterance 'u3' has a feature that is NaN or infinite, first in frame 2"),
        (broken(width=7), r"utterance 'u3' has features of shape \(5, 7\)"),
        ([np.zeros(5)] * 4, r"utterance 'u0' has features of shape \(5,\)"),
        ([np.zeros((0, 8))] * 4, "no utterance has a frame"),
        ([np.zeros((5, 8))] * 3, "3 utterances have 4 names"),
        ([], "the split is empty"),
    ],
)
def test_features_that_cannot_be_measured(features, message):
    with pytest.raises(EvaluationError, match=message):
        SpeakerClassifierMeasurement(["a", "b"] * 2, features, utterances=["u0", "u1", "u2", "u3"])


@settings(deadline=None, max_examples=50)
@given(
    groups=st.lists(st.sampled_from("abcd"), min_size=1, max_size=30), number=st.integers(2, 7), seed=st.integers(0, 99)
)
def test_folds_spread_every_group(groups, number, seed):
    folds = held_out_folds(groups, number, seed)
    assert ((0 <= folds) & (folds < number)).all()
    sizes = np.bincount(folds, minlength=number)
    assert sizes.max() - sizes.min() <= 1
    for group in set(groups):
        sizes = np.bincount(folds[np.array(groups) == group], minlength=number)
        assert sizes.max() - sizes.min() <= 1
    assert (held_out_folds(groups, number, seed) == folds).all()


def test_one_fold_is_refused():
    with pytest.raises(ConfigError, match="folds is 1"):
        held_out_folds(["a", "b"], 1)


def test_metrics_are_described():
    keys = SpeakerMeasurement.keys + SpeakerClassifierMeasurement.keys
    assert tuple(metric.key for metric in METRICS) == keys and len(set(keys)) == len(keys)
