"""Write the codebook as k-means, for fairseq's dump_km_label.py and similar tools: the nearest centre is the unit."""

import warnings
from pathlib import Path

import numpy as np
import torch.nn.functional as F

from ...errors import CheckpointError
from ...files import whole_file
from .source import Source

NAME = "scikit-learn k-means"

# If centres c differ in length, the nearest is not always the one with the largest product, since |x - c|^2 is
# |x|^2 - 2 x.c + |c|^2. Scaling the centres down makes the last term negligible; in float64 a factor of 1e-6 leaves nine
# digits of the product, and an error of 1e-6 times the difference of the squared lengths.
_SHRINK = 1e-6


def _centres(head):
    """The first codebook, scaled so that the nearest row is the unit; and a description of it."""
    prototypes = head.prototypes[0].detach()
    if head.normalize_prototypes:
        return F.normalize(prototypes.float(), dim=-1).numpy(), "prototypes of unit length"
    return (
        prototypes.double().numpy() * _SHRINK,
        f"prototypes as stored, times {_SHRINK:g}: their lengths differ, and so the nearest is the best; "
        "for dump_km_label.py, or float64 embeddings",
    )


def write(source: Source, path: str | Path) -> None:
    """Write a fitted KMeans with `cluster_centers_` (K, D) by joblib, for use on `spin-fairseq units --output embeddings`."""
    source.require_spin("kmeans")
    import joblib
    from sklearn.cluster import KMeans

    centres, source.about["cluster_centers_"] = _centres(source.model.head)
    kmeans = KMeans(len(centres), init=centres, n_init=1, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal prototypes
        kmeans.fit(centres)  # sets what scikit-learn looks for in a fitted model
    kmeans.cluster_centers_ = np.ascontiguousarray(centres)
    kmeans.labels_ = np.arange(len(centres), dtype=np.int32)
    kmeans.about = source.about
    with whole_file(path, CheckpointError) as temporary:
        joblib.dump(kmeans, temporary)
