"""The transformer of HuBERT and WavLM: attention and layers."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ..modules.products import Linear, linear
from .attention import GatedBias, attention
from .config import EncoderConfig
from .dropout import dropout
from .layout import Packed, Padded, in_blocks
from .positions import PositionalConvolution, PositionBias, RelativePositionBias

Tensor = torch.Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_accurate": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_fast": lambda x: F.gelu(x, approximate="tanh"),  # fairseq's older name for it
    "relu": F.relu,
    "tanh": torch.tanh,
    "linear": lambda x: x,
}


BIASES_AT_ONCE = 1 << 24  # relative position biases in memory, for each head
FEWEST_QUERIES = 500


def records(x: Tensor, *modules: nn.Module) -> bool:
    """Whether autograd has to record what these modules do with x."""
    if not torch.is_grad_enabled():
        return False
    return x.requires_grad or any(parameter.requires_grad for module in modules for parameter in module.parameters())


def _linear(inputs: int, outputs: int) -> Linear:
    """As fairseq starts the linear layers of a transformer."""
    linear = Linear(inputs, outputs)
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return linear


class SelfAttention(nn.Module):
    """Self-attention; a WavLM's adds to each query its part of the relative position bias.

    The first layer of a WavLM holds the table of that bias, for all layers.
    """

    def __init__(self, config: EncoderConfig, first_layer: bool) -> None:
        super().__init__()
        width, self.heads = config.encoder_embed_dim, config.encoder_attention_heads
        self.dropout = config.attention_dropout
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (_linear(width, width) for _ in range(4))
        if config.kind == "wavlm":
            self.grep_linear = _linear(width // self.heads, 8)
            self.grep_a = nn.Parameter(torch.ones(1, self.heads, 1, 1))
            if first_layer:
                table = RelativePositionBias(config.num_buckets, self.heads, config.max_distance)
                nn.init.normal_(table.weight, std=0.02)
                self.relative_attention_bias = table

    def _by_head(self, x: Tensor) -> Tensor:
        """(rows, frames, width) -> (rows, heads, frames, width / heads)."""
        return x.view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)

    def gate(self, x: Tensor) -> Tensor:
        """x: (rows, frames, width), what enters the attention -> (rows, heads, frames, 1), which multiplies the bias.

        Two sigmoids for each query and head, as in a gated recurrent unit: the paper's reset gate, and one minus its
        update gate. They read the input and not the projected query, and each is a sum of four outputs of one layer.
        """
        weight, bias = (each.unflatten(0, (2, 4)).sum(1) for each in (self.grep_linear.weight, self.grep_linear.bias))
        gates = torch.sigmoid(linear(x.unflatten(-1, (self.heads, -1)), weight, bias)).transpose(1, 2)
        keep, reset = gates.split(1, dim=-1)
        return 2.0 + keep * (reset * self.grep_a - 1.0)

    def forward(
        self, x: Tensor, layout: Padded | Packed, block: int | None, position_bias: PositionBias | None = None
    ) -> Tensor:
        """x: (rows, frames, width) in this layout -> what the heads make of it, before `out_proj`; as x.

        block: queries that attend at a time, None for all of an utterance.
        """
        query, key, value = (self._by_head(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        gate = None if position_bias is None else self.gate(x)
        if position_bias is not None and block is not None:
            block = min(block, max(FEWEST_QUERIES, BIASES_AT_ONCE // max(1, layout.longest(x))))
        found = []
        for span in layout.spans(x.size(1), block):
            bias = None if gate is None else GatedBias(gate[:, :, span.queries], position_bias.of(span))
            attended = query[:, :, span.queries], key[:, :, span.keys], value[:, :, span.keys]
            found.append(attention(*attended, self.dropout if self.training else 0.0, bias, layout.mask))
        return found[0] if len(found) == 1 else torch.cat(found, 1)


class TransformerLayer(nn.Module):
    """Attention and two linear layers, each with a residual; the norms stand behind them, or before (Large, X-Large)."""

    def __init__(self, config: EncoderConfig, first_layer: bool) -> None:
        super().__init__()
        width, inner = config.encoder_embed_dim, config.encoder_ffn_embed_dim
        self.self_attn = SelfAttention(config, first_layer)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = _linear(width, inner)
        self.fc2 = _linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.layer_norm_first = config.layer_norm_first
        self.dropout, self.activation_dropout = config.dropout, config.activation_dropout
        self.activation = ACTIVATIONS[config.activation_fn]

    def forward(
        self, x: Tensor, layout: Padded | Packed, block: int | None, position_bias: PositionBias | None = None
    ) -> Tensor:
        """x: (rows, frames, width) in this layout -> the layer's output, as x. block: frames at a time, or None."""
        y = in_blocks(self.self_attn_layer_norm, block, x) if self.layer_norm_first else x
        attended = self.self_attn(y, layout, block, position_bias)
        return in_blocks(self._after_attention, block, x, attended)

    def _after_attention(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + dropout(self.self_attn.out_proj(attended), self.dropout, self.training)
        if not self.layer_norm_first:
            x = self.self_attn_layer_norm(x)
        y = self.final_layer_norm(x) if self.layer_norm_first else x
        y = self.fc1(y, gelu=True) if self.activation is F.gelu else self.activation(self.fc1(y))
        y = dropout(y, self.activation_dropout, self.training)
        x = x + dropout(self.fc2(y), self.dropout, self.training)
        return x if self.layer_norm_first else self.final_layer_norm(x)


class Transformer(nn.Module):
    """The positional convolution, the layers, and a norm: before the layers, or behind them, where nothing uses it."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        if config.activation_fn not in ACTIVATIONS:
            raise ValueError(f"activation_fn is {config.activation_fn!r}; known: {', '.join(ACTIVATIONS)}")
        self.pos_conv = PositionalConvolution(config)
        layers = range(config.encoder_layers)
        self.layers = nn.ModuleList(TransformerLayer(config, first_layer=index == 0) for index in layers)
        self.layer_norm = nn.LayerNorm(config.encoder_embed_dim)
        self.layer_norm_first = config.layer_norm_first
        self.layer_norm.requires_grad_(not config.layer_norm_first)
        self.dropout = config.dropout

    def enter(self, x: Tensor, layout: Padded | Packed, block: int | None) -> Tensor:
        """What enters the first layer: positions are added, and in the Base form the norm is applied."""

        def add(x: Tensor, positions: Tensor) -> Tensor:
            x = x + positions
            x = x if self.layer_norm_first else self.layer_norm(x)
            return dropout(x, self.dropout, self.pos_conv.training)

        return in_blocks(add, block, x, self.pos_conv(x, layout, block))

    def position_bias(self, longest: int, block: int | None) -> PositionBias | None:
        """A WavLM's bias of one pass; None for HuBERT."""
        table = getattr(self.layers[0].self_attn, "relative_attention_bias", None)
        return None if table is None else PositionBias(table, longest, block)
