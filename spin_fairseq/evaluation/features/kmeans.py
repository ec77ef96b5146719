"""k-means: units for features that have no codebook."""

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from threadpoolctl import threadpool_limits

from ...errors import ConfigError

BATCH = 4096
THREADS_FROM = 10**9  # multiplications a batch; for less, threads wait for each other longer than they work


def fit_centroids(frames: np.ndarray, clusters: int, seed: int = 0) -> np.ndarray:
    """(N, width) -> (clusters, width) float32, by mini-batches (Sculley 2010), the best of three starts. Raises ConfigError."""
    if len(frames) < clusters:
        raise ConfigError(
            f"k-means of {clusters} clusters has only {len(frames)} frames to fit on; give more audio as --train"
        )
    kmeans = MiniBatchKMeans(clusters, batch_size=BATCH, n_init=3, max_iter=100, random_state=seed)
    with threadpool_limits(1 if BATCH * clusters * frames.shape[1] < THREADS_FROM else None):
        return kmeans.fit(np.asarray(frames, dtype=np.float32)).cluster_centers_.astype(np.float32)
