"""Initialising a head: its projection from principal components, its prototypes from k-means.

A random start needs updates, and speech, until the prototypes lie where frames are. This one has both at once: before the
first update the units are those of k-means on the unit sphere (spherical k-means, Dhillon & Modha 2001).
"""

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import nn

from ..errors import ConfigError
from .kmeans import kmeans
from .prototypes import PrototypeHead

STARTS, ITERATIONS = 3, 50


@torch.no_grad()
def start_from_kmeans(head: PrototypeHead, features: torch.Tensor, seed: int = 0) -> None:
    """Set a PrototypeHead's weights in place.

    features: (N, input_dim) floats, frames of the layer that the head reads, on the head's device. All is done there, on a
    CPU by scikit-learn. A projection of one linear layer becomes the principal components of the features, scaled so that
    embeddings have length 1 on average before they are normalised; a deeper one stays as it is. The prototypes are the
    centres of k-means on the embeddings, each codebook's with a seed of its own.
    Raises ConfigError: fewer frames than prototypes.
    """
    features = features.float()
    largest = max(len(prototypes) for prototypes in head.prototypes)
    if len(features) < largest:
        raise ConfigError(
            f"model.codebook_init is kmeans: {len(features)} frames are too few for {largest} prototypes; "
            "give more speech, or take a smaller codebook"
        )
    first = head.projection[0]
    if len(head.projection) == 1 and first.out_features <= first.in_features:
        _project_on_components(first, features)
    embeddings = head.embed(features)
    centres_of = _centres_by_scikit_learn if embeddings.device.type == "cpu" else _centres
    for codebook, prototypes in enumerate(head.prototypes):
        prototypes.copy_(F.normalize(centres_of(embeddings, len(prototypes), seed + codebook), dim=-1))


def _centres_by_scikit_learn(embeddings, number, seed):
    found = KMeans(number, n_init=STARTS, max_iter=ITERATIONS, random_state=seed).fit(embeddings.numpy())
    return torch.from_numpy(found.cluster_centers_.astype(np.float32))


def _centres(embeddings, number, seed):
    return kmeans(embeddings, number, seed, STARTS, ITERATIONS)[0]


@torch.no_grad()
def broadcast_weights(module: nn.Module, group: Any) -> None:
    """Give the weights of the group's first rank to its other ranks. NCCL sends what is on a GPU alone."""
    device = "cuda" if dist.get_backend(group) == "nccl" else "cpu"
    first = dist.get_global_rank(group, 0)
    for weight in module.parameters():
        sent = weight.detach().to(device)
        dist.broadcast(sent, first, group=group)
        weight.copy_(sent)


def _project_on_components(linear: nn.Linear, features):
    mean = features.mean(0)
    components = torch.linalg.eigh(torch.cov(features.T))[1].flip(1)[:, : linear.out_features].T
    length = ((features - mean) @ components.T).norm(dim=1).mean().clamp_min(torch.finfo(features.dtype).tiny)
    linear.weight.copy_(components / length)
    linear.bias.copy_(-(components @ mean) / length)
