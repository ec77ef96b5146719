"""Sinkhorn-Knopp and the loss as the textbook has them, in float64 and with whole matrices, for sizes beyond loops.

`tests/modules/test_precision.py` compares them with the loops of the other oracles.
"""


def assignment_oracle(scores, epsilon, iterations=3):
    """(N, K) -> (N, K) float64: exponentials, whose columns and rows are divided by their sums in turn."""
    q = scores.double()
    q = q.sub_(q.max()) if q is not scores else q - q.max()
    q = q.div_(epsilon).exp_()
    for _ in range(iterations):
        q /= q.sum(0)
        q /= q.sum(1, keepdim=True)
    return q


def loss_oracle(view_1, view_2, epsilon, temperature=0.1, iterations=3):
    """(N, K) cosines twice -> float64: mean cross-entropy of each view with the other's assignment."""
    loss = 0.0
    for own, other in ((view_1, view_2), (view_2, view_1)):
        log_p = (own.double() / temperature).log_softmax(1)
        loss -= (assignment_oracle(other, epsilon, iterations) * log_p).sum(1).mean() / 2
    return loss
