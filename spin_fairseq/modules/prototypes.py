"""The head of Spin: projection, L2 norm, and one or more codebooks of prototypes (Spin, section 2.1; DC-Spin)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from .precision import at_least_float32
from .products import Linear


class PrototypeHead(nn.Module):
    """Frames -> points of the unit sphere -> cosine with each prototype.

    input_dim: width of the encoder's layer.
    dims: widths of the projection's linear layers, a ReLU between them and none after the last.
    codebook_sizes: number of prototypes of each codebook; the first is the primary one, whose indices are the units.
    l2_norm: put the embeddings on the unit sphere.
    normalize_prototypes: normalise the prototypes where they are used. The reference normalises the stored rows in
    training alone, and computes units with them as they are: what is read from its checkpoints does so too.

    Normalised, the prototypes have unit length whenever they are used: in the forward pass, in float32. So it
    holds under autocast, half-precision weights and an optimiser that keeps float32 copies of the weights, which a
    normalisation in place would not survive. A head of float64 weights computes in float64.
    """

    def __init__(
        self, input_dim: int, dims: Sequence[int], codebook_sizes: Sequence[int], l2_norm: bool = True,
        normalize_prototypes: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.l2_norm = l2_norm
        self.normalize_prototypes = normalize_prototypes
        layers = []
        for width in dims:
            layers += [Linear(input_dim, width), nn.ReLU()]
            input_dim = width
        self.projection = nn.Sequential(*layers[:-1])
        self.prototypes = nn.ParameterList(
            nn.Parameter(F.normalize(torch.randn(size, input_dim), dim=-1)) for size in codebook_sizes
        )

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """(..., input_dim) -> (..., dims[-1]) float32, of unit length with l2_norm."""
        embeddings = at_least_float32(self.projection(features))
        return F.normalize(embeddings, dim=-1) if self.l2_norm else embeddings

    def scores(self, embeddings: torch.Tensor, codebook: int = 0) -> torch.Tensor:
        """(..., dims[-1]) -> (..., K) float32: cosine with each prototype of a codebook."""
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            prototypes = at_least_float32(self.prototypes[codebook])
            if self.normalize_prototypes:
                prototypes = F.normalize(prototypes, dim=-1)
            return embeddings @ prototypes.t()

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        """(..., input_dim) -> a list with (..., K) float32 cosines, one entry a codebook."""
        embeddings = self.embed(features)
        return [self.scores(embeddings, codebook) for codebook in range(len(self.prototypes))]
