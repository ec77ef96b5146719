"""Checkpoints of every format with something deleted or replaced: read, or refused by name, and nothing else."""

import copy
import json
import random

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.checkpoints.files import read_file
from spin_fairseq.errors import CheckpointError
from tests.checkpoints.parity import S3PRL_FILES as FOLDER
from tests.checkpoints.parity import S3PRL_GIVEN as GIVEN
from tests.small_spin import exported, trained

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element", "ignore:divide by zero")

JUNK = [None, True, 0, -1, 10**9, 0.5, float("nan"), "", "text", [], [1], {}, {1: 2}, {"a": {}}]
JUNK += [torch.tensor(1.0), torch.zeros(0, 3)]
ROUNDS = 50
# Of the reference's file, out of which ours are made.
HEAD = {"freeze": "cnn", "output_layer": 2, "head_dims": [20, 12], "codebook_sizes": [24]}


def places(content, path=()):
    """All keys of nested dictionaries, as paths."""
    for key, value in content.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


def damage(content, draw):
    """Delete or replace one thing, or put a strange key beside it; as often outside of the many tensors as in them."""
    every = list(places(content))
    few = [path for path in every if len(path) < 2 or "weight" not in str(path[-1]) and "bias" not in str(path[-1])]
    path = draw.choice(draw.choice([every, few]))
    for key in path[:-1]:
        content = content[key]
    action = draw.choice(["delete", "replace", "replace", "add"])
    if action == "delete":
        del content[path[-1]]
    elif action == "replace":
        content[path[-1]] = draw.choice(JUNK)
    else:
        content[draw.choice([1, None, (1, 2), "strange"])] = draw.choice(JUNK)


def try_to_load(load, path, **given):
    """-> whether it was read; any error but CheckpointError goes through."""
    try:
        model = load(path, **given)
    except CheckpointError as error:
        assert str(path.parent) in str(error)
        return False
    assert isinstance(model, torch.nn.Module)
    return True


@pytest.mark.parametrize("name", ["hubert.pt", "wavlm.pt", "spin_hubert.ckpt", "spin_wavlm.ckpt"])
def test_damaged_files_of_other_tools(name, tmp_path):
    original, draw, outcomes = read_file(FOLDER / name), random.Random(0), []
    if "hyper_parameters" in original:  # without what Lightning adds, which nobody reads
        model = original["hyper_parameters"]["model"]
        original = {"state_dict": original["state_dict"], "hyper_parameters": {"model": model}}
    given = GIVEN["wavlm" if "wavlm" in name else "hubert"]
    for _ in range(ROUNDS):
        content = copy.deepcopy(original)
        damage(content, draw)
        torch.save(content, tmp_path / "damaged.pt")
        load = load_spin if name.startswith("spin") else load_encoder
        outcomes.append(try_to_load(load, tmp_path / "damaged.pt", **given))
    assert 5 < sum(outcomes) < ROUNDS - 5, outcomes


@pytest.mark.parametrize("form", [trained, exported])
def test_damaged_checkpoints_of_our_own(form, tmp_path):
    original = form(load_spin(FOLDER / "spin_hubert.ckpt", **GIVEN["hubert"]), HEAD)
    draw, outcomes = random.Random(1), []
    for _ in range(ROUNDS):
        content = copy.deepcopy(original)
        damage(content, draw)
        torch.save(content, tmp_path / "damaged.pt")
        outcomes.append(try_to_load(load_spin, tmp_path / "damaged.pt"))
    assert 5 < sum(outcomes) < ROUNDS - 5, outcomes


def test_damaged_files_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    config = transformers.WavLMConfig(**sizes, **positions, conv_dim=[8] * 7)
    transformers.WavLMModel(config).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    files = [tmp_path / "config.json", tmp_path / "preprocessor_config.json"]
    originals, draw, outcomes = [file.read_text() for file in files], random.Random(2), []
    junk = [value for value in JUNK if not isinstance(value, torch.Tensor)]
    for _ in range(ROUNDS):
        for file, original in zip(files, originals):
            content = json.loads(original)
            content[draw.choice(sorted(content))] = draw.choice(junk)
            file.write_text(json.dumps(content))
        outcomes.append(try_to_load(load_encoder, tmp_path / "model.safetensors"))
    assert 5 < sum(outcomes) < ROUNDS - 5, outcomes
