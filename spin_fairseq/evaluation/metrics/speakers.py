"""How much of the speaker is left in units and features."""

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import log_softmax
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..clusters import UtteranceCounts, label_indices, quality_of_counts
from ..confidence import Measurement
from .metric import FRACTION, Metric
from .folds import FOLDS, held_out_folds
from .inputs import checked_features, checked_speakers, checked_units, utterance_names

FIT_FRAMES = 5000
DEALS = 20  # of utterances to speakers at random
KEPT_VARIANCE = 0.99999  # the rest is rounding, or what is constant

UNIT_METRICS = (
    Metric(
        "speaker_nmi", "speaker NMI", "lower",
        "Fraction of the speakers' entropy that single units explain: I(speaker; unit) / H(speaker), over frames. It grows with "
        "the number of units.",
        "as PNMI (Hsu et al. 2021, section IV-B), with speakers for phones",
        chance="speaker_nmi_chance", within=FRACTION,
    ),
    Metric(
        "speaker_nmi_above_chance", "speaker NMI above chance", "lower",
        "Speaker NMI less its chance. At 0, or a little below it, units say no more of the speakers than of utterances that are put "
        "together at random.",
        "a correction for chance as in Vinh et al. 2010, with whole utterances dealt out, and not scaled", chance="0",
        within=(-1.0, 1.0),
    ),
    Metric(
        "speaker_nmi_chance", "chance of speaker NMI", "",
        f"Speaker NMI after the utterances are dealt to the speakers at random, as many to each as before; mean of {DEALS} deals. It is "
        "above 0 since each utterance has sounds of its own: more so with many units, many speakers, and little speech.",
        "permutation of whole utterances, as frames of one are not independent", within=FRACTION,
    ),
    Metric(
        "speaker_purity", "speaker purity", "lower",
        "Accuracy of naming each frame's speaker by the likeliest speaker of its unit: the sum over units of "
        "max p(speaker, unit).",
        "as phone purity (Hsu et al. 2021, section IV-B), with speakers for phones",
        chance="the fraction of the speaker with most frames", within=FRACTION,
    ),
)  # fmt: skip

CLASSIFIER_METRICS = (
    Metric(
        "speaker_accuracy", "speaker accuracy, frames, cross-validated", "lower",
        f"Accuracy of a linear classifier (multinomial logistic regression on whitened features) that names the speaker of a "
        f"single frame. Cross-validated in {FOLDS} folds: every utterance is held out once and scored on all its frames; "
        f"fitted on about {FIT_FRAMES:,} frames of the others, as many of each utterance, drawn at random. Features are "
        "taken at their own width, and wider ones tell more of the speaker by their width alone.",
        "linear probing: Alain & Bengio 2017; frame-wise for speakers: van den Oord et al. 2018 (CPC), section 3.1",
        chance="speaker_chance", within=FRACTION,
    ),
    Metric(
        "utterance_speaker_accuracy", "speaker accuracy, utterances, cross-validated", "lower",
        "The same classifier naming the speaker of a whole held-out utterance: the highest mean log probability over its "
        "frames.",
        "as speaker accuracy of frames", chance="the fraction of the speaker with most utterances", within=FRACTION,
    ),
    Metric(
        "speaker_chance", "chance of speaker accuracy", "",
        "Fraction of the frames that belong to the speaker with most of them: the accuracy of always naming that one, which "
        "features without any speaker allow. One over the number of speakers where all speak equally long.",
        "the majority class", within=FRACTION,
    ),
)  # fmt: skip

METRICS = UNIT_METRICS + CLASSIFIER_METRICS


class SpeakerMeasurement(Measurement):
    """Metrics of units beside speakers.

    speakers: a name an utterance; units: a sequence of integers in 0..clusters-1 an utterance; clusters: size of the
    codebook. utterances: names for messages and for pairing, or None. With one speaker alone all is undefined.

    Raises EvaluationError.
    """

    keys = tuple(metric.key for metric in UNIT_METRICS)

    def __init__(
        self, speakers: Sequence[str], units: Sequence[np.ndarray], clusters: int, *,
        utterances: Sequence[str] | None = None,
    ):  # fmt: skip
        self.utterances = utterance_names(utterances, len(units))
        units = checked_units(units, clusters, self.utterances)
        speakers = checked_speakers(speakers, self.utterances)
        indices, names = label_indices([[speaker] for speaker in speakers])
        classes = [np.repeat(index, len(row)) for index, row in zip(indices, units)]
        self._counts = UtteranceCounts(classes, units, len(names), clusters)
        self._chance = _nmi_of_deals(np.concatenate(indices), units, len(names), clusters)
        alone = len({speaker for speaker, row in zip(speakers, units) if len(row)}) == 1
        self.reasons = dict.fromkeys(self.keys, "there is one speaker only") if alone else {}

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        found = self._counts.agreement(weights)
        speaker_entropy = np.where(found["class_entropy"] > 0, found["class_entropy"], np.nan)
        nmi = 1 - found["class_given_unit"] / speaker_entropy
        return {
            "speaker_nmi": nmi,
            "speaker_nmi_above_chance": nmi - self._chance,
            "speaker_nmi_chance": np.where(
                np.isnan(nmi), np.nan, self._chance
            ),  # a matter of the data, not of the resample
            "speaker_purity": np.where(np.isnan(speaker_entropy), np.nan, found["best_class"]),
        }


def _nmi_of_deals(speakers, units, num_speakers, clusters):
    """Mean speaker NMI over random deals of the utterances. speakers: an index an utterance. The same deals for all models."""
    shape = len(units), clusters
    rows = np.repeat(np.arange(len(units)), [len(row) for row in units])
    histograms = csr_matrix((np.ones(len(rows), np.int64), (rows, np.concatenate(units))), shape=shape)
    rng, found = np.random.default_rng(0), []
    for _ in range(DEALS):
        dealt = (np.ones(len(units), np.int64), (rng.permutation(speakers), np.arange(len(units))))
        counts = (csr_matrix(dealt, shape=(num_speakers, len(units))) @ histograms).toarray()
        found.append(quality_of_counts(counts)["pnmi"])
    return float(np.mean(found))


class SpeakerClassifierMeasurement(Measurement):
    """Metrics of a linear speaker classifier on features or embeddings, cross-validated over utterances.

    speakers: a name an utterance; features: (frames, width) floats an utterance. folds: how many; every utterance is
    scored once, by a classifier that was fitted without it. fit_frames: about how many frames are fitted on, as many of
    each utterance as there are. Speakers with a single utterance can be learned or asked for, not both: they are left out.
    The classifiers are not fitted anew for a resample.

    Attributes:
        left_out: names of the speakers left out.
    Raises EvaluationError.
    """

    keys = tuple(metric.key for metric in CLASSIFIER_METRICS)

    def __init__(
        self, speakers: Sequence[str], features: Sequence[np.ndarray], *, utterances: Sequence[str] | None = None,
        folds: int = FOLDS, fit_frames: int = FIT_FRAMES, seed: int = 0,
    ):  # fmt: skip
        self.utterances = utterance_names(utterances, len(features))
        features = checked_features(features, self.utterances)
        speakers = np.array(checked_speakers(speakers, self.utterances))
        spoken = np.array([len(array) > 0 for array in features])
        often = Counter(speakers[spoken].tolist())
        self.left_out = tuple(sorted(speaker for speaker, times in often.items() if times == 1))
        used = np.flatnonzero(spoken & ~np.isin(speakers, self.left_out))
        names, index = np.unique(speakers[used], return_inverse=True)
        utterances = len(self.utterances)
        self._frames = np.zeros((utterances, max(1, len(names))))  # of each speaker
        self._correct = np.zeros(utterances)
        self._named = np.zeros(utterances)  # 1: the utterance as a whole is named rightly
        self._used = np.zeros(utterances)
        self.reasons = {}
        if len(names) < 2:
            reason = (
                "fewer than two speakers have two utterances or more" if len(often) > 1 else "there is one speaker only"
            )
            self.reasons = dict.fromkeys(self.keys, reason)
            return
        self._used[used] = 1
        self._frames[used, index] = [len(features[i]) for i in used]
        rng = np.random.default_rng(seed)
        held_out = held_out_folds(speakers[used], folds, seed)
        for fold in np.unique(held_out):
            train = used[held_out != fold]
            each = -(-fit_frames // len(train))
            x = [features[i][rng.permutation(len(features[i]))[:each]].astype(np.float32) for i in train]
            classifier = fit_classifier(np.concatenate(x), np.repeat(speakers[train], [len(rows) for rows in x]))
            for i in used[held_out == fold]:
                scores = log_probabilities(classifier, features[i].astype(np.float32, copy=False))
                self._correct[i] = np.sum(classifier.classes_[scores.argmax(1)] == speakers[i])
                self._named[i] = classifier.classes_[scores.mean(0).argmax()] == speakers[i]

    def values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        frames = weights @ self._frames  # (B, S)
        total, utterances = frames.sum(1), weights @ self._used
        # A resample with one speaker alone says nothing of telling speakers apart.
        total, utterances = (np.where((frames > 0).sum(1) > 1, count, np.nan) for count in (total, utterances))
        chance = self._frames.sum(0).max() / max(1, self._frames.sum())  # a matter of the data, not of the resample
        return {
            "speaker_accuracy": weights @ self._correct / total,
            "utterance_speaker_accuracy": weights @ self._named / utterances,
            "speaker_chance": np.where(np.isnan(total), np.nan, chance),
        }


def fit_classifier(x: np.ndarray, y: np.ndarray) -> Pipeline:
    """x: (frames, width); y: (frames,) names of speakers -> a fitted linear classifier.

    Features are whitened: neither their scale nor their correlations decide how well speakers are told apart, and the fit
    is over after some forty steps. Without, it depends on the number of steps for some hundreds.
    """
    whiten = PCA(KEPT_VARIANCE, whiten=True, svd_solver="covariance_eigh")
    classifier = make_pipeline(StandardScaler(), whiten, LogisticRegression(C=0.1, max_iter=50))
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # invalid: fractions of no variance at all
        warnings.simplefilter("ignore", ConvergenceWarning)
        return classifier.fit(x, y)


def log_probabilities(classifier: Pipeline, x: np.ndarray) -> np.ndarray:
    """(frames, width) -> (frames, classes): finite, where scikit-learn's own run into the logarithm of 0."""
    scores = classifier.decision_function(x)
    if scores.ndim == 1:  # of two classes: the log odds of the second
        scores = np.stack([np.zeros_like(scores), scores], 1)
    return log_softmax(scores, axis=1)


def speaker_accuracy(
    train_features: Sequence[np.ndarray], train_speakers: Sequence[str], test_features: Sequence[np.ndarray],
    test_speakers: Sequence[str], frames: int = 12000, seed: int = 0, width: int | None = None,
) -> float:  # fmt: skip
    """Accuracy of a linear classifier that names the speaker of a single frame; fitted and tested on other recordings.

    Not the metric of that name above, which is cross-validated on one split, and whose features are whitened.

    train_features, test_features: one (frames, width) array an utterance; train_speakers, test_speakers: one name an
    utterance. No utterance may be in both. At most `frames` frames, drawn at random, are fitted on; with few of them the
    metric says more about the width of the features than about speakers.
    width: the classifier sees so many principal components of the frames that it is fitted on, so that features of several
    widths can be compared: a wider input alone makes it better; None, or a width that is not below theirs: the features.
    Chance is one over the number of speakers. Returns a float in 0..1.
    """
    if len(set(train_speakers)) < 2:
        raise ValueError("a speaker classifier needs at least two speakers")

    def flat(features, speakers):
        return np.concatenate(features), np.repeat(np.asarray(speakers), [len(array) for array in features])

    x, y = flat(train_features, train_speakers)
    if len(x) > frames:
        chosen = np.random.default_rng(seed).choice(len(x), frames, replace=False)
        x, y = x[chosen], y[chosen]
    steps = [StandardScaler(), LogisticRegression(max_iter=100)]
    if width is not None and width < x.shape[1]:
        steps.insert(0, PCA(width, svd_solver="covariance_eigh"))
    classifier = make_pipeline(*steps)
    with warnings.catch_warnings():
        # 100 steps are the definition here; the accuracy is flat long before the weights settle.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(x, y)
    return float(classifier.score(*flat(test_features, test_speakers)))
