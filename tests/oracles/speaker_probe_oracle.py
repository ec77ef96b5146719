"""The linear speaker classifier step by step: whitening by its definition, the log likelihood minimised until it rests."""

import numpy as np
from scipy.optimize import minimize


def whitening(x, kept):
    """(frames, width) -> function to uncorrelated features of variance 1, without the directions of least variance."""
    mean, deviation = x.mean(0), x.std(0)
    deviation[deviation == 0] = 1
    values, vectors = np.linalg.eigh(np.cov(((x - mean) / deviation).T))
    order = np.argsort(-values)
    share = np.cumsum(values[order]) / values.sum()
    chosen = order[: int(np.sum(share <= kept)) + 1]
    return lambda rows: (rows - mean) / deviation @ vectors[:, chosen] / np.sqrt(values[chosen])


def classify(train, speakers, test, kept=0.99999, penalty=10.0):
    """Frames and their speakers, frames -> (names, log probabilities (frames, names)). penalty: 1 / C."""
    whiten = whitening(train, kept)
    names = sorted(set(speakers))
    x, target = whiten(train), np.array([[name == speaker for name in names] for speaker in speakers], float)

    def log_probabilities(weights, rows):
        weights = weights.reshape(-1, len(names))
        scores = rows @ weights[:-1] + weights[-1]
        scores -= scores.max(1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(1, keepdims=True))

    def loss(weights):
        logs = log_probabilities(weights, x)
        slope = np.exp(logs) - target
        matrix = weights.reshape(-1, len(names)).copy()
        matrix[-1] = 0  # the bias is free
        gradient = np.concatenate([x.T @ slope, slope.sum(0, keepdims=True)]) + penalty * matrix
        return -(target * logs).sum() + penalty / 2 * (matrix**2).sum(), gradient.ravel()

    start = np.zeros((x.shape[1] + 1) * len(names))
    found = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-6})
    return names, log_probabilities(found.x, whiten(test))
