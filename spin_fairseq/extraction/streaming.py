"""Units of audio that is still arriving: from a microphone, a pipe, a network.

The frames come out chunk by chunk. A chunk is computed as soon as the samples of its look-ahead have arrived; its frames
attend to the left context before it, to each other and to the look-ahead behind it.

What differs from the whole file:
- attention and the positional convolution see the left context and the look-ahead, and nothing beyond them;
- the norms whose statistics are those of the whole wave (the group norm of HuBERT and WavLM Base, the normalised waves of
  the Large models) use the statistics of what has been heard so far. They are renewed when they have changed by more than
  CHANGE, which happens in the first seconds, or when the sound changes; the frames of the context then go through
  the convolutions again. Otherwise a frame goes through them once.
The convolutions themselves see the same samples as in the whole file.
"""

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch

from ..encoders import Mode, WaveStatistics
from ..errors import AudioError, ConfigError
from ..spin_model import Spin

Tensor = torch.Tensor

CHANGE = 0.1  # relative change of a variance. With 0, 0.4 % more frames agree with the whole file, for more computing
CHUNK_MS, LOOK_AHEAD_MS, LEFT_CONTEXT_MS = 400.0, 400.0, 2000.0


@dataclass(frozen=True)
class StreamedUnits:
    """What a stream has found since it was asked before: n frames, on the CPU.

    units: (n,) int64. times: (n,) float64, where each frame begins, seconds from the first sample of the stream.
    features: (n, width), or None where they were not asked for.
    """

    units: Tensor
    times: Tensor
    features: Tensor | None = None

    def __len__(self) -> int:
        return len(self.units)


class StreamingSpin:
    """Push samples, get units.

        stream = StreamingSpin(load_spin("checkpoint_last.pt"))
        for samples in microphone:  # (T,) float32 or int16 at 16 kHz, of any length
            print(stream.push(samples).units.tolist())
        print(stream.flush().units.tolist())

    The units do not depend on how the samples are split among calls, there are as many as of the whole file, and memory
    does not grow with the length of the stream. Longer look-ahead and left context bring them closer to those of
    the whole file; a longer chunk takes less time, since the left context is computed again for each chunk. One stream
    serves one microphone or speaker, and is used by one thread at a time; several streams may share a model.

    model: what `load_spin` returns, on any device; it is put in eval mode.
    chunk_ms: how much audio is turned into units at a time; rounded to whole frames, one at least.
    look_ahead_ms: how much audio behind a chunk is awaited, so that its last frames see what follows; 0 or more.
    left_context_ms: how much audio before a chunk its frames see; 0 or more.
    codebook: which codebook gives the units, from 0.
    features: whether to return features as well.
    layer: 1-based layer of the features; None: the one that the head reads.
    statistics: of the norms, from `model.encoder.statistics` of another recording, (1, T), of the same source; None:
    those of what has been heard so far.
    statistics_ms: how far back the statistics go; None: to the beginning of the stream.
    Raises ConfigError: a time is negative or not a number, or there is no such codebook or layer.
    """

    def __init__(
        self,
        model: Spin,
        *,
        chunk_ms: float = CHUNK_MS,
        look_ahead_ms: float = LOOK_AHEAD_MS,
        left_context_ms: float = LEFT_CONTEXT_MS,
        codebook: int = 0,
        features: bool = False,
        layer: int | None = None,
        statistics: WaveStatistics | None = None,
        statistics_ms: float | None = None,
    ) -> None:
        self.model, self.encoder = model.eval(), model.encoder
        codebooks, layers = len(model.head.prototypes), self.encoder.num_layers
        if not 0 <= codebook < codebooks:
            raise ConfigError(f"codebook is {codebook}: the model has codebooks 0..{codebooks - 1}; choose one")
        if layer is not None and not 1 <= layer <= layers:
            raise ConfigError(f"layer is {layer}: the encoder has layers 1..{layers}; choose one")
        if statistics is not None and statistics_ms is not None:
            raise ConfigError("statistics and statistics_ms exclude each other: give one of them")
        self.chunk = max(1, self._frames("chunk_ms", chunk_ms, above=0.0))
        self.look_ahead = self._frames("look_ahead_ms", look_ahead_ms)
        self.left_context = self._frames("left_context_ms", left_context_ms)
        self._memory = None
        if statistics_ms is not None:
            self._memory = max(1, self._frames("statistics_ms", statistics_ms, above=0.0)) * self.encoder.hop
        self._codebook, self._given = codebook, statistics
        self._layers = [model.output_layer, layer or model.output_layer] if features else [model.output_layer]
        self._seen = 1  # samples that one frame sees
        for kernel, stride in self.encoder.feature_extractor.sizes[::-1]:
            self._seen = (self._seen - 1) * stride + kernel
        self.reset()

    @property
    def latency_ms(self) -> float:
        """Milliseconds of audio from the beginning of a frame until its unit can be computed, for the first frame of a
        chunk, which waits longest."""
        hop, rate = self.encoder.hop, self.encoder.sample_rate
        return 1000.0 * ((self.chunk + self.look_ahead - 1) * hop + self._seen) / rate

    def reset(self) -> None:
        """Forget everything, for another stream."""
        parameter = next(self.model.parameters())
        self._running = None if self._given is not None else self.encoder.running_statistics(self._memory)
        self._statistics = self._given  # in use
        self._first = 0  # frame: the first one of the left context
        self._next = 0  # the first one whose unit is not known yet
        self._samples = torch.zeros(0, device=parameter.device)  # from the first frame on
        self._counted = 0  # samples of the stream that the running statistics have seen
        # Frames behind the convolutions, from the first one on
        self._embedded = parameter.new_zeros(0, self.encoder.width)
        self._ended = False

    def push(self, samples: np.ndarray | Tensor) -> StreamedUnits:
        """Take the next samples, and return the units of the chunks that are complete now.

        samples: (T,) at the model's rate (16 kHz), float between -1 and 1, or int16; empty is allowed.

        Raises AudioError: samples of another shape or type, or with NaN or infinity. The stream is as it was before.
        ConfigError: the stream was flushed.
        """
        if self._ended:
            raise ConfigError("the stream was flushed and has ended; reset() begins another")
        wave = self._checked(samples)
        found = []
        for piece in wave.split((self.chunk + self.look_ahead) * self.encoder.hop):
            self._samples = torch.cat([self._samples, self._to_float(piece)])
            while self._next + self.chunk + self.look_ahead <= self._frames_arrived():
                end = self._next + self.chunk
                found.append(self._compute(end, end + self.look_ahead))
        return self._joined(found)

    def flush(self) -> StreamedUnits:
        """End the stream, and return the units of the frames that were still waiting for their chunk or look-ahead.

        After it, the number of units is that of the whole file. Called again, it returns none.
        """
        found, frames = [], self._frames_arrived()
        if not self._ended and frames > self._next:
            found.append(self._compute(frames, frames, ends=True))
        self._ended = True
        return self._joined(found)

    # --- one chunk ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _compute(self, end: int, until: int, ends: bool = False) -> StreamedUnits:
        """Units of the frames from the next one to `end`, which see the frames before `until`."""
        embedded, statistics = self._embed(until, ends)
        outputs = self.encoder.encode_embedded(embedded[None], self._layers)
        new = slice(self._next - self._first, end - self._first)
        units = self.model.head.scores(self.model.head.embed(outputs[0][0, new]), self._codebook).argmax(-1).cpu()
        features = outputs[1][0, new].float().cpu() if len(outputs) > 1 else None
        found = StreamedUnits(units, self._times(self._next, end), features)
        # The state changes here alone, so that an interrupted computation leaves the stream as it was.
        gone = max(0, end - self.left_context - self._first)
        self._first, self._next, self._statistics = self._first + gone, end, statistics
        self._samples, self._embedded = self._samples[gone * self.encoder.hop :].clone(), embedded[gone:].clone()
        return found

    def _embed(self, until: int, ends: bool) -> tuple[Tensor, WaveStatistics]:
        """The frames from the first one to `until` behind the convolutions, and the statistics that their norms use."""
        hop, known = self.encoder.hop, len(self._embedded)
        if self._first + known == until:
            return self._embedded, self._statistics
        wave = self._samples if ends else self._samples[: (until - self._first - 1) * hop + self._seen]
        statistics = self._statistics
        if self._running is not None:
            self._running.add(wave[self._counted - self._first * hop :])
            self._counted = self._first * hop + len(wave)
            heard = self._running.statistics()
            if statistics is None or statistics.change(heard) > CHANGE:
                statistics, known = heard, 0
        mode = Mode(statistics=statistics)
        fresh = self.encoder.extract_features(wave[known * hop :][None], ret_conv=True, mode=mode).features[0]
        return torch.cat([self._embedded[:known], fresh]), statistics

    # --- what goes in and comes out ------------------------------------------------------------------------------------

    def _frames(self, name: str, milliseconds: float, above: float | None = None) -> int:
        """The nearest number of whole frames."""
        known = isinstance(milliseconds, Real) and math.isfinite(milliseconds)
        if not known or milliseconds < 0 or (above is not None and milliseconds <= above):
            least = "0 or more" if above is None else "above 0"
            raise ConfigError(f"{name} is {milliseconds}: it must be a number of milliseconds, {least}")
        return round(milliseconds / 1000 / self.encoder.frame_seconds)

    def _frames_arrived(self) -> int:
        return self._first + max(0, self.encoder.output_lengths(len(self._samples)))

    def _checked(self, samples: np.ndarray | Tensor) -> Tensor:
        if not isinstance(samples, Tensor):
            array = np.asarray(samples)
            native = {"f": np.float32, "i": array.dtype.newbyteorder("=")}.get(array.dtype.kind)
            if native is None:
                raise AudioError(f"samples are {array.dtype}: they must be float, or int16")
            samples = torch.from_numpy(np.array(array, native))  # a copy: its owner may write into it again
        if samples.dim() != 1:
            raise AudioError(
                f"samples have the shape {tuple(samples.shape)}: they must be (T,), one channel; choose one, or take the mean"
            )
        if samples.dtype == torch.int16:
            return samples
        if not samples.is_floating_point():
            raise AudioError(f"samples are {samples.dtype}: they must be float, or int16")
        samples = samples.detach().float()
        if not torch.isfinite(samples).all():
            raise AudioError("samples are NaN or infinite: leave them out, or put zeros in their place")
        return samples

    def _to_float(self, piece: Tensor) -> Tensor:
        scale = 1.0 / 32768.0 if piece.dtype == torch.int16 else 1.0
        return piece.to(self._samples.device, torch.float32) * scale

    def _times(self, begin: int, end: int) -> Tensor:
        return torch.arange(begin, end, dtype=torch.float64) * self.encoder.hop / self.encoder.sample_rate

    def _joined(self, found: list[StreamedUnits]) -> StreamedUnits:
        if len(found) == 1:
            return found[0]
        none = StreamedUnits(
            torch.zeros(0, dtype=torch.int64),
            torch.zeros(0, dtype=torch.float64),
            torch.zeros(0, self.encoder.width) if len(self._layers) > 1 else None,
        )
        found = found or [none]
        features = None if none.features is None else torch.cat([each.features for each in found])
        return StreamedUnits(
            torch.cat([each.units for each in found]), torch.cat([each.times for each in found]), features
        )
