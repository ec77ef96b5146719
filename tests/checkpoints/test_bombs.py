"""Small files that ask for a lot of memory: each refused before any is taken."""

import os
import pickle
import re
import struct
import zipfile

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.encoders import parse_conv_layers
from spin_fairseq.checkpoints.files import read_file
from spin_fairseq.errors import CheckpointError
from tests.small_hubert import fairseq_hubert
from tests.small_wavlm import microsoft_wavlm

HUGE = 10**9


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pt"


def refused(path, message):
    return pytest.raises(CheckpointError, match=f"{re.escape(str(path))}.*{message}")


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def test_a_compressed_archive(path):
    torch.save({"model": {"zeros": torch.zeros(2_000_000)}}, path)
    content = members(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    assert path.stat().st_size < 20_000
    with refused(path, r"refused, since its \d+ bytes unpack to 800\d{4}"):
        load_encoder(path)


def test_members_that_share_their_bytes(path):
    """Each entry of the directory points to the same large member."""
    torch.save({"model": {"zeros": torch.zeros(100_000)}}, path)
    with zipfile.ZipFile(path, "a") as archive:
        large = max(archive.infolist(), key=lambda info: info.file_size)
        for copy in range(20):
            info = zipfile.ZipInfo(f"archive/data/{copy + 10}")
            for key in ("file_size", "compress_size", "CRC", "header_offset", "compress_type"):
                setattr(info, key, getattr(large, key))
            archive.filelist.append(info)
        archive._didModify = True
    with refused(path, "refused, since its .* bytes unpack to 8"):
        load_encoder(path)


@pytest.mark.parametrize(
    "key, value",
    [
        ("encoder_layers", HUGE),
        ("encoder_layers", float("inf")),
        ("encoder_embed_dim", HUGE),
        ("encoder_ffn_embed_dim", HUGE),
        ("conv_pos", HUGE),
        ("conv_feature_layers", f"[({HUGE}, 10, 5)] + [(32, 3, 2)]"),
        ("conv_feature_layers", f"[(32, {HUGE}, 5)] + [(32, 3, 2)]"),
        ("conv_feature_layers", "[(32, 10, 5)] * 50"),
    ],
)
def test_a_configuration_of_a_model_that_is_not_in_the_file(key, value, path):
    _, state = fairseq_hubert()
    state["cfg"]["model"][key] = value
    torch.save(state, path)
    with refused(path, "do not fit the configuration: .* there, and .* by the tensors"):
        load_encoder(path)


@pytest.mark.parametrize("key", ["encoder_layers", "num_buckets"])
def test_a_configuration_of_a_wavlm_that_is_not_in_the_file(key, path):
    _, state = microsoft_wavlm()
    state["cfg"][key] = HUGE
    torch.save(state, path)
    with refused(path, f"{key} is 1000000000 there"):
        load_encoder(path)


@pytest.mark.parametrize("expression", ["[(8, 3, 2)] * 64 * 64", "[(8, 3, 2)]" + " * 64" * 9, "[(8, 3, 2)] * 65"])
def test_endless_convolutions(expression):
    with pytest.raises(CheckpointError, match="conv_feature_layers"):
        parse_conv_layers(expression)


@pytest.mark.parametrize(
    "name",
    ["encoder.layers.0.fc1.weight", "encoder.pos_conv.0.weight_v", "feature_extractor.conv_layers.0.0.weight"],
)
def test_the_tensors_that_tell_the_sizes_must_be_there(name, path):
    _, state = fairseq_hubert()
    state["cfg"]["model"]["encoder_embed_dim"] = HUGE
    del state["model"][name]
    torch.save(state, path)
    with refused(path, f"do not fit the configuration: {name} is missing"):
        load_encoder(path)


def test_one_number_as_a_large_tensor(path):
    _, state = fairseq_hubert()
    state["model"]["encoder.layers.0.fc1.weight"] = torch.zeros(1).expand(HUGE, HUGE)
    torch.save(state, path)
    with refused(path, r"refused, since its \d+ bytes would make tensors of 4000000"):
        load_encoder(path)


def test_many_layers_out_of_a_few_numbers(path):
    _, state = fairseq_hubert()
    for layer in range(3, 300):
        state["model"][f"encoder.layers.{layer}.fc1.bias"] = torch.zeros(1)
    state["cfg"]["model"]["encoder_layers"] = 300
    torch.save(state, path)
    with refused(path, "300 layers as the first would be 9830400 numbers"):
        load_encoder(path)


@pytest.mark.parametrize(
    "key, value", [("codebook_sizes", [HUGE]), ("codebook_sizes", f"16,{HUGE}"), ("head_dims", HUGE)]
)
def test_a_head_that_is_not_in_the_file(key, value, path):
    _, base = fairseq_hubert()
    encoder = {**base["cfg"]["model"], "kind": "hubert", "normalize": False, "sample_rate": 16000}
    del encoder["_name"]
    model = {"head_dims": [8], "codebook_sizes": [16], "encoder": encoder, key: value}
    tensors = {f"encoder.{name}": tensor for name, tensor in base["model"].items()}
    tensors.update({"head.projection.0.weight": torch.zeros(8, 64), "head.prototypes.0": torch.zeros(16, 8)})
    torch.save({"cfg": {"model": {**model, "_name": "spin"}}, "model": tensors}, path)
    with refused(path, f"{key} has {HUGE}, the head's are up to 64"):
        load_spin(path)


class Reduced:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes_by_their_number(kind, path):
    torch.save({"x": Reduced(kind, 5)}, path)
    with refused(path, f"refused, since it would build builtins.{kind.__name__}.int"):
        load_encoder(path)


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes_by_themselves(kind, path):
    torch.save({"x": kind(b"\xff\0a"), "empty": kind()}, path)
    assert read_file(path) == {"x": kind(b"\xff\0a"), "empty": kind()}


def test_an_older_file_that_announces_more_than_it_holds(path):
    """Its storages are allocated before they are read: by the system, not touched, and then found missing."""

    class Announcing(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", torch.FloatStorage, "0", "cpu", 10**10, None) if obj == "the storage" else None

    with open(path, "wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
            pickle.dump(part, file, protocol=2)
        tensor = Reduced(torch._utils._rebuild_tensor_v2, "the storage", 0, (5,), (1,), False, None)
        Announcing(file, protocol=2).dump({"model": tensor})
        pickle.dump(["0"], file, protocol=2)
        file.write(struct.pack("<q", 10**10) + b"\0" * 20)
    with refused(path, "not a readable checkpoint, or truncated"):
        load_encoder(path)


@pytest.mark.parametrize("length", [HUGE, 20, 2**63])
def test_safetensors_that_announce_more_than_they_hold(length, path):
    header = b'{"x":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}'
    path.write_bytes(struct.pack("<Q", length if length != 20 else len(header)) + header)
    with refused(path, "no readable safetensors|not a readable"):
        load_encoder(path)


def test_what_is_refused_is_no_part_of_the_message_without_end(path):
    key = "k" * 10_000
    torch.save({key: 1, (1, 2): 3}, path)
    with refused(path, "another kind") as refusal:
        load_encoder(path)
    assert len(str(refusal.value)) < 2000 + len(os.fspath(path))
