"""Spin checkpoints of this package, in the two forms that it writes. head: SpinConfig's keys that `model` was made with."""


def trained(model, head):
    """As training leaves it, without the optimiser."""
    return {"cfg": {"model": {**head, "_name": "spin", "encoder": model.encoder.config}}, "model": model.state_dict()}


def exported(model, head):
    """The self-contained file."""
    content = {"model": {**head, "encoder": model.encoder.config}, "state_dict": model.state_dict()}
    return {"format": "spin_fairseq", "version": 1, "about": {"base": "small", "layer": 2}, **content}
