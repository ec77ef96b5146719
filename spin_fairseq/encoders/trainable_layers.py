"""Which layers of an encoder are trained, and which start from random weights, by name: "cnn", "pos", 1, 2, ...

"cnn" is the feature extractor with its layer norm and the projection to the transformer's width, "pos" the positional
convolution (with the norm that follows it), 1.. the transformer layers. "1..10" names a range.
"""

from typing import Any
from collections.abc import Callable, Sequence

from torch import nn

from ..errors import ConfigError
from .encoder import SpeechEncoder


def parse_list(value: Any) -> list[str]:
    """ "a,b", [a, b], a single value or None -> a list of strings."""
    if value is None or value == "":
        return []
    if isinstance(value, (int, float)):
        return [str(value)]
    if isinstance(value, str):
        value = value.strip("[]() ").split(",")
    return [str(item).strip() for item in value if str(item).strip()]


def layer_names(key: str, value: Any, num_layers: int) -> list[str]:
    """Names and ranges -> names in the order given; ConfigError for a name that the encoder does not have."""
    names = []
    for item in parse_list(value):
        first, dots, last = item.partition("..")
        if dots and first.isdigit() and last.isdigit() and int(first) <= int(last):
            found = [str(i) for i in range(int(first), int(last) + 1)]
        else:
            found = [item]
        for name in found:
            if name not in ("cnn", "pos") and not (name.isdigit() and 1 <= int(name) <= num_layers):
                raise ConfigError(
                    f"{key} names {name!r}: the encoder has cnn, pos and layers 1..{num_layers}; choose of these"
                )
        names += found
    return names


def freeze(encoder: SpeechEncoder, names: Sequence[str], output_layer: int) -> list[nn.Module]:
    """Stop gradients of the named groups, and of all that has no part in the output.

    -> the modules that are frozen and run, whose dropout a caller may want to turn off.
    """
    frozen = []
    for name, modules in encoder.layer_groups().items():
        unused = name.isdigit() and int(name) > output_layer
        if name in names or unused:
            frozen += modules
    for module in frozen:
        module.requires_grad_(False)
    encoder.mask_emb.requires_grad_(False)
    return frozen


def layer_lr_factors(encoder: SpeechEncoder, decay: float, output_layer: int) -> dict[nn.Parameter, float]:
    """-> the learning rate's factor of the encoder's weights: decay ** (output_layer - layer); "cnn" and "pos" are layer 0.

    Weights that are no part of a layer are left out. As in ELECTRA (Clark et al. 2020, appendix), from the top layer down.
    """
    factors = {}
    for name, modules in encoder.layer_groups().items():
        layer = int(name) if name.isdigit() else 0
        for module in modules:
            for parameter in module.parameters():
                factors[parameter] = decay ** max(0, output_layer - layer)
    return factors


def randomize(encoder: SpeechEncoder, names: Sequence[str], build: Callable[[], SpeechEncoder]) -> None:
    """Give the named groups the weights, norms included, of a new encoder made by `build()`."""
    if not names:
        return
    groups, fresh_groups = encoder.layer_groups(), build().layer_groups()
    for name in names:
        for module, fresh in zip(groups[name], fresh_groups[name]):
            module.load_state_dict(fresh.state_dict())
