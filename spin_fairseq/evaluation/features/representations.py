"""Where features come from (MFCCs, an encoder's layers, Spin's embeddings), and how they become units.

A source has: `title`; `fingerprint()`, what JSON can hold and changes with the features; `layers`, the 1-based ones that it
has, or (None,); `width(layer)`; `output_lengths(samples)`; `compute(layers)`, a function of source (B, T) and padding mask
(B, T) or None, and perhaps an encoders.Mode, for a tuple with (B, frames, width) float32, one entry a layer. Models are
loaded when they are first needed, so a finished evaluation loads none.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ...encoders import AS_USUAL
from ...errors import CheckpointError, ConfigError
from ...fingerprints import file_fingerprint
from ...speech.audio import SAMPLE_RATE
from . import mfcc
from ...encoders.front_end import Lengths
from .specs import ModelSpec

if TYPE_CHECKING:
    from ...spin_model import Spin

Compute = Callable[..., tuple[torch.Tensor, ...]]


class MfccSource:
    """The features of `mfcc`, which need no model."""

    title = "MFCC"
    layers = (None,)
    frame_seconds = 2 * mfcc.HOP / SAMPLE_RATE

    def fingerprint(self) -> list:
        return ["mfcc", 1]

    def width(self, layer: int | None) -> int:
        return mfcc.WIDTH

    def output_lengths(self, samples: Lengths) -> Lengths:
        return mfcc.output_lengths(samples)

    def compute(self, layers: Sequence[int | None]) -> Compute:
        def rows(source, mask, mode=AS_USUAL):
            lengths = [source.size(1)] * len(source) if mask is None else (~mask).sum(-1).tolist()
            found = [mfcc.mfcc(wave[:length]) for wave, length in zip(source, lengths)]
            return (torch.nn.utils.rnn.pad_sequence(found, batch_first=True),)

        return rows


class _ModelSource:
    """given: keys of the encoder's configuration that the checkpoint leaves open; they and dtype as for `load_encoder`."""

    def __init__(self, path, device="cpu", given=None, dtype="float32"):
        self.path, self.device, self.given, self.dtype = str(path), device, given or {}, dtype
        if not Path(path).exists():
            raise CheckpointError(f"{path}: no such checkpoint")

    @property
    def title(self):
        return Path(self.path).name

    def fingerprint(self):
        others = [self.given] if self.given else []
        if self.dtype != "float32":
            others.append(self.dtype)
        return [type(self).__name__, file_fingerprint(self.path), *others]

    @cached_property
    def encoder(self):
        """On the device."""
        return self._load().to(self.device)

    def output_lengths(self, samples):
        return self.encoder.output_lengths(samples)

    @property
    def frame_seconds(self):
        return self.encoder.frame_seconds


class EncoderSource(_ModelSource):
    """The layers of a HuBERT or WavLM; of a Spin checkpoint, those of the encoder in it."""

    def _load(self):
        from ...checkpoints import load_encoder

        return load_encoder(self.path, self.dtype, **self.given)

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(range(1, self.encoder.num_layers + 1))

    def width(self, layer: int | None) -> int:
        return self.encoder.width

    def compute(self, layers: Sequence[int | None]) -> Compute:
        wrong = [layer for layer in layers if not 1 <= layer <= self.encoder.num_layers]
        if wrong:
            raise ConfigError(
                f"{self.path}: there is no layer {wrong[0]}; the encoder has layers 1..{self.encoder.num_layers}"
            )
        if len(layers) == 1:
            layer = layers[0]
            return lambda source, mask, mode=AS_USUAL: (
                self.encoder.encode(source, mask, layer, mode=mode).features.float(),
            )
        return lambda source, mask, mode=AS_USUAL: tuple(
            x.float() for x in self.encoder.encode_layers(source, mask, layers, mode)
        )


class SpinSource(_ModelSource):
    """The embeddings of a Spin model: of unit length, what its prototypes are compared with."""

    layers = (None,)

    @cached_property
    def model(self) -> Spin:
        from ...checkpoints import load_model

        model = load_model(self.path, self.dtype, **self.given)
        if not hasattr(model, "head"):
            raise CheckpointError(f"{self.path}: an encoder without a codebook; give it as {self.path}+kmeans")
        return model.to(self.device)

    def _load(self):
        return self.model.encoder

    def width(self, layer: int | None) -> int:
        return self.model.head.prototypes[0].size(1)

    def compute(self, layers: Sequence[int | None]) -> Compute:
        return lambda source, mask, mode=AS_USUAL: (self.model.extract_embeddings(source, mask, mode),)


class SpinUnits:
    """The prototype of greatest cosine."""

    def __init__(self, source: SpinSource, codebook: int = 0):
        self.source, self.codebook, self.layer = source, codebook, None

    @cached_property
    def clusters(self) -> int:
        sizes = [len(prototypes) for prototypes in self.source.model.head.prototypes]
        if self.codebook >= len(sizes):
            raise ConfigError(f"{self.source.path}: there is no codebook {self.codebook}; it has 0..{len(sizes) - 1}")
        return sizes[self.codebook]

    def units(self, features: torch.Tensor) -> torch.Tensor:
        """(..., width) float32 tensor -> (...) int64."""
        return self.source.model.head.scores(features, self.codebook).argmax(-1)


class KMeansUnits:
    """The nearest centroid. centroids: (K, width) float32 array."""

    def __init__(self, source: FeatureSource, layer: int | None, centroids: np.ndarray, device: str = "cpu"):
        self.source, self.layer, self.clusters = source, layer, len(centroids)
        self._centroids = torch.from_numpy(np.asarray(centroids, dtype=np.float32)).to(device)
        self._offset = self._centroids.square().sum(-1) / 2

    def units(self, features: torch.Tensor) -> torch.Tensor:
        """(..., width) float32 tensor -> (...) int64."""
        return (features @ self._centroids.t() - self._offset).argmax(-1)


FeatureSource = MfccSource | EncoderSource | SpinSource


def open_source(
    spec: ModelSpec, device: str = "cpu", given: dict[str, Any] | None = None, dtype: str = "float32"
) -> FeatureSource:
    """The source of a ModelSpec. given, dtype: as for the sources. Raises CheckpointError: no such file."""
    if spec.kind == "spin":
        return SpinSource(spec.source, device, given, dtype)
    return MfccSource() if spec.source == "mfcc" else EncoderSource(spec.source, device, given, dtype)
