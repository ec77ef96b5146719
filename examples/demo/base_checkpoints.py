"""fairseq's checkpoints of a base: as the start of the next iteration, with more layers, and as a file to pass on."""

import re
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[2]
SEED = 1  # of what starts anew


def read_checkpoint(path):
    """A checkpoint that fairseq wrote here, with its configuration. From torch 2.6 on, by this package's allow-list alone."""
    import spin_fairseq  # noqa: F401  the allow-list

    return torch.load(path, map_location="cpu", weights_only=hasattr(torch.serialization, "add_safe_globals"))


def write_start(source, target, dictionary, layers=None):
    """The weights of one iteration as the start of the next: the clusters are new, so their embeddings start anew.

    layers: of the next model, where it has more (twice as many at most): copies of the last ones stand for those that are new.
    """
    from fairseq.data import Dictionary

    rows = len(Dictionary.load(str(dictionary)))  # the clusters, and fairseq's special symbols
    state = read_checkpoint(source)
    width = state["model"]["label_embs_concat"].shape[1]
    state["model"]["label_embs_concat"] = torch.rand(rows, width, generator=torch.Generator().manual_seed(SEED))
    if layers:
        grow(state["model"], layers)
    state.pop("last_optimizer_state", None)
    torch.save(state, target.with_suffix(".part"))
    target.with_suffix(".part").rename(target)


def grow(weights, layers):
    """Add layers to the weights of a HuBERT, in place: 4 that grow to 6 become 1 2 3 4 3 4 (stacking, Gong et al. 2019)."""
    of_layer = re.compile(r"encoder\.layers\.(\d+)\.(.*)")
    found = [
        (int(match[1]), match[2], weights[name])
        for name, match in ((n, of_layer.match(n)) for n in list(weights))
        if match
    ]
    before = 1 + max(number for number, _, _ in found)
    new = layers - before
    if not 0 <= new <= before:
        raise SystemExit(f"--grow {layers}: the checkpoint has {before} layers; it can grow to {before}..{2 * before}")
    for number, name, tensor in found:
        if number >= before - new:
            weights[f"encoder.layers.{number + new}.{name}"] = tensor.clone()


def strip_checkpoint(source, target, half=False):
    """A checkpoint as fairseq saves it, without the optimiser's state and any path of this machine; half: its weights in float16."""
    state = read_checkpoint(source)
    cfg = state["cfg"]
    cfg["task"].update(data="data", label_dir="labels")
    cfg["common"].update(user_dir=None, tensorboard_logdir=None, log_file=None)
    cfg["common"].update(plasma_path="plasma")
    cfg["checkpoint"].update(save_dir="checkpoints", finetune_from_model=None)
    cfg.pop("job_logging_cfg", None)
    found = [value for value in strings(state) if value.startswith("/") or str(REPOSITORY) in value]
    if found:
        raise SystemExit(f"paths are left in the configuration: {found}")
    state.pop("last_optimizer_state", None)
    state["extra_state"].pop("metrics", None)
    if half:
        state["model"] = {
            name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state["model"].items()
        }
    torch.save(state, target.with_suffix(".part"))
    target.with_suffix(".part").rename(target)


def strings(tree):
    """All strings in a tree of dicts and lists."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from strings(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from strings(value)
