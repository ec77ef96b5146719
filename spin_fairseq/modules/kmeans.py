"""k-means (Lloyd 1982) with the greedy k-means++ start (Arthur & Vassilvitskii 2007), on the device of the points.

scikit-learn's, which tests compare it with, runs on the CPU alone: minutes for 2,048 centres, beside a GPU that waits.
"""

import math

import torch

SCORES_AT_ONCE = 1 << 26  # distances in memory


@torch.no_grad()
def kmeans(
    points: torch.Tensor, number: int, seed: int = 0, starts: int = 3, iterations: int = 50
) -> tuple[torch.Tensor, float]:
    """-> the best of `starts` results: centres (number, dim), mean squared distance of a point to its centre (float).

    points: (N, dim) float32 or float64, N at least `number`. The draws are made by a generator of the CPU, so they are
    the same on every device; sums are not quite, where a device adds in no fixed order.
    """
    generator = torch.Generator().manual_seed(seed)
    results = [_lloyd(points, _far_apart(points, number, generator), iterations) for _ in range(starts)]
    return min(results, key=lambda result: result[1])


def _squared_distances(points, centres):
    """-> (N, K)."""
    products = torch.addmm(centres.square().sum(1), points, centres.t(), alpha=-2)
    return (products + points.square().sum(1, keepdim=True)).clamp_(min=0)


def _far_apart(points, number, generator):
    """Points drawn one by one, likelier the farther they are from those before; of a few draws the best is taken."""
    draws = 2 + int(math.log(number))
    first = torch.randint(len(points), (1,), generator=generator).to(points.device)
    chosen, nearest = [points[first]], _squared_distances(points, points[first])[:, 0]
    for _ in range(number - 1):
        heights = nearest.double().cumsum(0)
        at = torch.rand(draws, generator=generator, dtype=torch.float64).to(points.device) * heights[-1]
        candidates = points[torch.searchsorted(heights, at).clamp_(max=len(points) - 1)]
        distances = torch.minimum(nearest, _squared_distances(points, candidates).t())
        best = distances.sum(1).argmin(keepdim=True)
        nearest = distances[best][0]
        chosen.append(candidates[best])
    return torch.cat(chosen)


def _assign(points, centres):
    """-> nearest centre (N,) int64, squared distance to it (N,)."""
    blocks = points.split(max(1, SCORES_AT_ONCE // len(centres)))
    distances, labels = zip(*(_squared_distances(block, centres).min(1) for block in blocks))
    return torch.cat(labels), torch.cat(distances)


def _lloyd(points, centres, iterations):
    before = None
    for _ in range(iterations):
        labels, distances = _assign(points, centres)
        if before is not None and torch.equal(labels, before):
            break
        before = labels
        sums = torch.zeros_like(centres).index_add_(0, labels, points)
        counts = torch.zeros_like(centres[:, 0]).index_add_(0, labels, torch.ones_like(distances))
        empty = counts == 0
        farthest = points[distances.topk(len(centres)).indices]  # a centre without points takes one of these
        centres = torch.where(
            empty[:, None], farthest[(empty.cumsum(0) - 1).clamp(min=0)], sums / counts.clamp(min=1)[:, None]
        )
    return centres, _assign(points, centres)[1].mean().item()
