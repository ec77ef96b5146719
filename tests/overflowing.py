"""Finite weights whose features are not: what a checkpoint of a run that diverged holds, short of NaN itself."""


def overflow(tensors, layer):
    """Make a layer give NaN. tensors: a state dictionary, changed; layer: such as "encoder.layers.1"."""
    tensors[f"{layer}.fc1.bias"].fill_(3e38)
    tensors[f"{layer}.fc2.weight"].mul_(1e6)  # infinities of both signs are added
