"""HuBERT (Hsu et al., 2021, arXiv 2106.07447) and WavLM (Chen et al., 2022, arXiv 2110.13900) as encoders.

A wave goes through convolutions, a projection, a positional convolution and transformer layers. WavLM is HuBERT with
gated relative positions in its attention. The tensors have the names that fairseq and Microsoft gave them.
"""

from typing import Any, NamedTuple
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from ..errors import ConfigError
from ..modules.precision import at_least_float32
from ..modules.products import Linear
from .config import EncoderConfig
from .dropout import dropout
from .front_end import FrontEnd, Lengths
from .layout import Packed, Padded, Progress, in_blocks
from .masking import masked_spans
from .mode import AS_USUAL, Mode
from .transformer import Transformer, records
from .waves import RunningStatistics, WaveStatistics, wave_statistics

Tensor = torch.Tensor


PRECISIONS = ("float32", "bfloat16", "float16")


class Encoded(NamedTuple):
    """features: (B, frames, width); frame_mask: (B, frames) bool, True at padding, or None where none was given."""

    features: Tensor
    frame_mask: Tensor | None


class _Batch(NamedTuple):
    """Frames on their way: x in a layout, how many frames a padded row has, and the mask of the padded rows."""

    x: Tensor
    layout: Any
    frames: int
    frame_mask: Tensor | None


class SpeechEncoder(nn.Module):
    """A HuBERT or WavLM without its pre-training parts, with random weights.

    config: keys of EncoderConfig, and others that a checkpoint's configuration has; kept as `config`. `cfg` is the
    EncoderConfig. Raises ConfigError or CheckpointError for a configuration that makes no encoder.

    Layers above the one asked for are not run. A row's result depends neither on padding nor on the rest of its batch.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config: dict[str, Any] = dict(config)
        self.cfg = cfg = EncoderConfig.of(config)
        self.normalize, self.sample_rate = cfg.normalize, cfg.sample_rate
        self.conv_layers: list[tuple[int, int, int]] = cfg.conv_layers
        self.num_layers, self.width = cfg.encoder_layers, cfg.encoder_embed_dim
        self.mask_emb = nn.Parameter(torch.empty(self.width).uniform_())
        self.feature_extractor = FrontEnd(cfg)
        inputs = self.feature_extractor.width
        if not cfg.has_projection and inputs != self.width:
            raise ConfigError(
                f"the convolutions are {inputs} wide, the transformer {self.width}: a projection is needed"
            )
        self.post_extract_proj = Linear(inputs, self.width) if cfg.has_projection else None
        self.dropout_input = nn.Dropout(cfg.dropout_input)
        self.encoder = Transformer(cfg)
        self.layer_norm = nn.LayerNorm(inputs) if cfg.feat_proj_layer_norm else nn.Identity()

    # --- sizes ----------------------------------------------------------------------------------------------------

    def output_lengths(self, samples: Lengths) -> Lengths:
        """Number of frames of so many samples: int, or int array or tensor in, the same out."""
        return self.feature_extractor.output_lengths(samples)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.feature_extractor.hop

    @property
    def frame_seconds(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop / self.sample_rate

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        """{"cnn": modules, "pos": modules, "1": modules, ...}: what freezing and randomising go by."""
        groups = {
            "cnn": [self.feature_extractor, self.layer_norm, self.dropout_input],
            "pos": [self.encoder.pos_conv],
            **{str(i): [layer] for i, layer in enumerate(self.encoder.layers, 1)},
        }
        if self.post_extract_proj is not None:
            groups["cnn"].append(self.post_extract_proj)
        if not self.encoder.layer_norm_first:  # else the norm stands behind the last layer, and is never used
            groups["pos"].append(self.encoder.layer_norm)
        return groups

    def multiply_in(self, dtype: str) -> "SpeechEncoder":
        """Compute products with weights in "float32", "bfloat16" or "float16"; for inference. -> itself.

        That is the linear layers and the convolutions of the front end behind the first one. All between them, and
        attention, stays in the precision that it has. Weights that were rounded stay rounded.
        """
        if dtype not in PRECISIONS:
            raise ConfigError(f"dtype is {dtype!r}: it must be one of {', '.join(PRECISIONS)}")
        products = [module for module in self.encoder.modules() if isinstance(module, Linear)]
        products += [layer.conv for layer in self.feature_extractor.conv_layers[1:]]
        for module in products if self.post_extract_proj is None else [*products, self.post_extract_proj]:
            module.to(getattr(torch, dtype))
        return self

    @property
    def product_dtype(self) -> str:
        """What `multiply_in` was given last, or the precision of the weights."""
        return str(self.encoder.layers[0].fc1.weight.dtype).replace("torch.", "")

    # --- features -------------------------------------------------------------------------------------------------

    def encode(
        self, source: Tensor, padding_mask: Tensor | None = None, output_layer: int | None = None,
        mask: bool = False, mode: Mode = AS_USUAL,
    ) -> Encoded:  # fmt: skip
        """The output of a transformer layer.

        source: (B, T) waves at the encoder's sample rate, raw: they are normalised here if the base asks for it.
        padding_mask: (B, T) bool, True where there is padding, at the end of rows; or None.
        output_layer: 1-based; None is the last. As in fairseq, no final norm follows.
        mask: put `mask_emb` in the place of random spans of frames, as in pre-training.
        """
        mode, last = mode.on(source.device, source.numel()), output_layer or self.num_layers
        entered = self._enter(self._embed(source, padding_mask, mode, 2 + last), mode, mask)
        for output in self._layers(entered, mode, last):  # noqa: B007  the last one is wanted
            pass
        return Encoded(output.layout.to_rows(output.x, output.frames), output.frame_mask)

    def encode_layers(
        self, source: Tensor, padding_mask: Tensor | None = None, layers: Sequence[int] | None = None,
        mode: Mode = AS_USUAL,
    ) -> list[Tensor]:  # fmt: skip
        """The outputs of several layers, by one pass: a list with (B, frames, width), one entry for each of `layers`.

        layers: 1-based, 0 for what enters the first one; None: all, without 0. Other arguments as in `encode`.
        """
        wanted = range(1, self.num_layers + 1) if layers is None else layers
        mode = mode.on(source.device, source.numel())
        return self._outputs(self._embed(source, padding_mask, mode, 2 + max(wanted)), wanted, mode)

    def encode_embedded(self, embedded: Tensor, layers: Sequence[int], mode: Mode = AS_USUAL) -> list[Tensor]:
        """The transformer alone: `encode_layers` of waves that went through the convolutions before, without padding.

        embedded: (B, frames, width), what `extract_features(ret_conv=True)` returns, or frames of it. mode: its
        statistics are of no effect, since they belong to the convolutions.
        """
        batch = _Batch(embedded, Padded(None, mode.progress), embedded.size(1), None)
        return self._outputs(batch, layers, mode.on(embedded.device, embedded.size(1) * self.hop))

    def _outputs(self, embedded: _Batch, wanted: Sequence[int], mode: Mode) -> list[Tensor]:
        """(B, frames, width) of each of the wanted layers."""
        batch = self._enter(embedded, mode)
        found = {0: batch.layout.to_rows(batch.x, batch.frames)} if 0 in wanted else {}
        for index, output in enumerate(self._layers(batch, mode, max(wanted)), 1):
            if index in wanted:
                found[index] = output.layout.to_rows(output.x, output.frames)
        return [found[index] for index in wanted]

    def extract_features(
        self, source: Tensor, padding_mask: Tensor | None = None, mask: bool = False, ret_conv: bool = False,
        output_layer: int | None = None, mode: Mode = AS_USUAL,
    ) -> Encoded:  # fmt: skip
        """`encode` with the arguments of fairseq's HubertModel. ret_conv: what enters the transformer, instead."""
        if not ret_conv:
            return self.encode(source, padding_mask, output_layer, mask, mode)
        batch = self._embed(source, padding_mask, mode.on(source.device, source.numel()), 1)
        return Encoded(batch.layout.to_rows(batch.x, batch.frames), batch.frame_mask)

    def forward(self, source: Tensor, padding_mask: Tensor | None = None, mode: Mode = AS_USUAL) -> Encoded:
        """`encode` of the last layer."""
        return self.encode(source, padding_mask, mode=mode)

    def statistics(self, wave: Tensor, lengths: Tensor | None = None) -> WaveStatistics:
        """What the norms take from waves (B, T), of which the first `lengths` samples are no padding."""
        kernel, stride = self.feature_extractor.sizes[0]
        return wave_statistics(wave, lengths, kernel, stride, self.feature_extractor.has_group_norm)

    def running_statistics(self, memory: int | None = None) -> RunningStatistics:
        """Statistics of a wave that is still growing. memory: samples they go back at least; None: to its beginning."""
        kernel, stride = self.feature_extractor.sizes[0]
        return RunningStatistics(kernel, stride, self.feature_extractor.has_group_norm, memory)

    # --- the way through ------------------------------------------------------------------------------------------

    def _embed(self, source: Tensor, padding_mask: Tensor | None, mode: Mode, parts: int) -> _Batch:
        """Front end, layer norm, projection and dropout. parts: of the work, by which progress is told; this is one."""
        lengths = None if padding_mask is None else (~padding_mask).sum(-1)
        counts, packed = None, mode.packed
        frames = self.output_lengths(source.size(1))
        frame_mask = None
        if lengths is not None:
            frame_mask = torch.arange(frames, device=source.device) >= self.output_lengths(lengths)[:, None]
            if packed:
                counts = lengths.tolist()
                if min(counts) == source.size(1):
                    counts = None
        progress = None if mode.progress is None else lambda fraction: mode.progress(fraction / parts)
        if counts:
            layout = Packed([max(0, self.output_lengths(count)) for count in counts], progress)
        elif lengths is not None and packed:
            layout, lengths = Padded(None, progress), None
        else:
            layout = Padded(frame_mask, progress)

        recorded = records(source, *self.layer_groups()["cnn"])
        with torch.set_grad_enabled(recorded):
            if mode.together and mode.block is not None:
                x = self._convolve(source, lengths, mode)
                if progress:
                    progress(1.0)
                if counts:
                    x = torch.cat([row[:count] for row, count in zip(x, layout.lengths)]).unsqueeze(0)
            elif counts or (lengths is None and mode.block is not None and not recorded):
                waves = source if counts is None else [wave[:count] for wave, count in zip(source, counts)]
                x = self._convolve_each(waves, mode, recorded, progress)
                x = torch.cat(x).unsqueeze(0) if counts else torch.stack(x)
            else:
                x = self._convolve(source, lengths, mode)
                if progress:
                    progress(1.0)
            return _Batch(in_blocks(self._project, None if recorded else mode.block, x), layout, frames, frame_mask)

    def _project(self, x: Tensor) -> Tensor:
        x = self.layer_norm(x)
        x = x if self.post_extract_proj is None else self.post_extract_proj(x)
        return dropout(x, self.dropout_input.p, self.dropout_input.training)

    def _convolve(self, source: Tensor, lengths: Tensor | None, mode: Mode) -> Tensor:
        """The front end of padded rows: (B, T) -> (B, frames, width)."""
        statistics = mode.statistics
        norms = self.normalize or self.feature_extractor.has_group_norm
        padded = lengths is not None and norms
        if statistics is None and (padded or (norms and mode.block is not None)):
            statistics = self.statistics(source, lengths)
        wave, statistics = self._centred(source, statistics)
        if padded:
            wave = wave.masked_fill(torch.arange(wave.size(1), device=wave.device) >= lengths[:, None], 0.0)
        return self.feature_extractor(wave, statistics)

    def _convolve_each(self, waves: Sequence[Tensor], mode: Mode, recorded: bool, progress: Progress) -> list[Tensor]:
        """The front end of one wave after another: (T,) each -> (frames, width) each."""
        of_all = sum(max(0, self.output_lengths(len(wave))) for wave in waves)
        told = None if progress is None else lambda frames: progress(frames / of_all)
        prepared = None if recorded or mode.block is None else self.feature_extractor.prepared()
        found = []
        for index, wave in enumerate(waves):
            if self.output_lengths(len(wave)) < 1:
                found.append(self.mask_emb.new_zeros(0, self.feature_extractor.width))
                continue
            statistics = self.statistics(wave[None]) if mode.statistics is None else mode.statistics.row(index)
            wave, statistics = self._centred(wave[None], statistics)
            if prepared is None:
                found.append(self.feature_extractor(wave, statistics)[0])
                if told:
                    told(len(found[-1]))
            else:
                found.append(self.feature_extractor.in_blocks(wave[0], statistics, prepared, told))
        return found

    def _centred(self, wave: Tensor, statistics: WaveStatistics | None) -> tuple[Tensor, WaveStatistics | None]:
        """Waves (B, T) normalised, or with their mean taken away where a group norm makes it of no effect; and the
        statistics after it. Without statistics the rows' own are used, by operations that an export knows."""
        dtype = self.feature_extractor.conv_layers[0].conv.weight.dtype
        if not self.normalize and not self.feature_extractor.has_group_norm:
            return wave.to(dtype), statistics
        x = at_least_float32(wave)
        if statistics is None:
            x = x - x.mean(-1, keepdim=True)
            if self.normalize:
                x = x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5)
            return x.to(dtype), None
        scale = torch.rsqrt(statistics.variance + 1e-5) if self.normalize else torch.ones_like(statistics.variance)
        x = (x - statistics.mean.to(x.dtype)) * scale.to(x.dtype)
        if statistics.window_mean is None:
            return x.to(dtype), statistics
        window_mean = (statistics.window_mean - statistics.mean) * scale
        covariance = statistics.window_covariance * (scale * scale).unsqueeze(-1)
        return x.to(dtype), WaveStatistics(statistics.mean, statistics.variance, window_mean, covariance)

    def _enter(self, batch: _Batch, mode: Mode, mask: bool = False) -> _Batch:
        """Masking where it is asked for, and the positions: what enters the first layer."""
        encoder = self.encoder
        x = self._masked(batch) if mask else batch.x
        recorded = records(x, encoder.pos_conv, encoder.layer_norm)
        with torch.set_grad_enabled(recorded):
            return batch._replace(x=encoder.enter(x, batch.layout, None if recorded else mode.block))

    def _layers(self, batch: _Batch, mode: Mode, last: int) -> Iterator[_Batch]:
        """Run layers 1 to `last`, and yield the batch behind each."""
        layers, x = self.encoder.layers, batch.x
        with torch.set_grad_enabled(records(x, layers[0].self_attn)):
            bias = self.encoder.position_bias(batch.layout.longest(x), mode.block)
        for layer in layers[:last]:
            recorded = records(x, layer)
            with torch.set_grad_enabled(recorded):
                x = layer(x, batch.layout, None if recorded else mode.block, bias)
            yield batch._replace(x=x)

    def _masked(self, batch: _Batch) -> Tensor:
        cfg, x = self.cfg, batch.layout.to_rows(batch.x, batch.frames)
        if "static" != cfg.mask_selection or "static" != cfg.mask_channel_selection:
            raise ConfigError("mask=True: mask_selection and mask_channel_selection must be static")
        whole = torch.full((len(x),), batch.frames, device=x.device)
        lengths = whole if batch.frame_mask is None else whole - batch.frame_mask.sum(-1)
        if cfg.mask_prob > 0:
            spans = masked_spans(lengths, batch.frames, cfg.mask_prob, cfg.mask_length, fewest=2)
            x = torch.where(spans.unsqueeze(-1), self.mask_emb.to(x.dtype), x)
        if cfg.mask_channel_prob > 0:
            channels = torch.full_like(lengths, x.size(2))
            spans = masked_spans(channels, x.size(2), cfg.mask_channel_prob, cfg.mask_channel_length, fewest=0)
            x = x.masked_fill(spans.unsqueeze(1), 0.0)
        if isinstance(batch.layout, Padded):
            return x
        return torch.cat([row[:length] for row, length in zip(x, batch.layout.lengths)]).unsqueeze(0)
