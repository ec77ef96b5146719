"""Checkpoints that are cut off, changed, of something else, or programs: refused by name, and nothing of them run.

tests/checkpoints/ has more that are damaged (test_damaged.py) and that ask for memory (test_bombs.py).
"""

import copy
import json
import os
import pickle
import struct
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.errors import CheckpointError
from tests.bad_inputs.judging import may_refuse, must_refuse
from tests.bad_inputs.test_pitch_tables import Calls, calls
from tests.small_hubert import fairseq_hubert
from tests.small_spin import exported

KIND = "checkpoint"
HEAD = {"freeze": "cnn", "output_layer": 2, "head_dims": [8], "codebook_sizes": [12]}


@pytest.fixture(scope="module")
def hubert():
    return fairseq_hubert()[1]


@pytest.fixture(scope="module")
def spin(small_hubert):
    from tests.spin_checkpoints import untrained_spin

    return exported(untrained_spin(small_hubert, **HEAD), HEAD)


def refuse(path, *names, load=load_encoder):
    must_refuse(KIND, lambda: load(path), CheckpointError, path, *names, folder=path.parent)


def test_files_of_something_else(tmp_path):
    path = tmp_path / "model.pt"
    contents = [
        b"", b"text", bytes(1000), b"PK\x03\x04", b"PK\x03\x04" + bytes(500), b"PK\x05\x06" + bytes(18), b"\x80\x02.", b"\x80\x04N.",
        b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", b"\x89HDF\r\n", b"\x1f\x8b\x08",
        b"{", b"{}", b"[]", b"\x93NUMPY\x01\0v\0{}", b"GGUF\x03\0\0\0", b"ONNX", b"fLaC", b"\x80\x02]q\0.", b"\x80\xff",
    ]  # fmt: skip
    for content in contents:
        path.write_bytes(content)
        refuse(path)
        refuse(path, load=load_spin)


def test_objects_of_something_else(tmp_path):
    path = tmp_path / "model.pt"
    for content in [
        None, 5, "model", [], [torch.zeros(3)], torch.zeros(3), (), {}, {"model": None}, {"model": {}}, {"model": torch.zeros(1)},
        {1: 2}, {None: None}, {"state_dict": {}}, {"model": {"weight": torch.zeros(2)}}, {"cfg": None, "model": {}},
        {"cfg": {"model": None}, "model": {"a": torch.zeros(1)}}, {"cfg": {"model": {"_name": "hubert"}}, "model": {}},
        {"cfg": {"model": {"_name": "transformer"}}, "model": {"a": torch.zeros(1)}}, {"args": None, "cfg": None, "model": {}},
        {"format": "spin_fairseq"}, {"format": "spin_fairseq", "version": 99, "model": {}, "state_dict": {}},
        {"state_dict": {"encoder.model.a": torch.zeros(1)}, "hyper_parameters": {}}, {"cfg": 5, "model": 5}, {"optimizer": {}},
    ]:  # fmt: skip
        torch.save(content, path)
        refuse(path)
        refuse(path, load=load_spin)


def test_cut_off(tmp_path, hubert):
    path = tmp_path / "model.pt"
    torch.save(hubert, path)
    whole = path.read_bytes()
    for length in [1, 4, 10, 100, *range(1000, len(whole), len(whole) // 15), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refuse(path)
    torch.save(hubert, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for length in [1, 10, 100, 1000, *range(5000, len(whole), len(whole) // 8), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refuse(path)


def test_programs(tmp_path, hubert):
    canary = tmp_path / "canary"
    for number, call in enumerate(calls(canary)):
        path = tmp_path / f"{number}.pt"
        for zipped in (True, False):
            torch.save({**hubert, "extra": Calls(*call)}, path, _use_new_zipfile_serialization=zipped)
            refuse(path)
            assert not canary.exists()
        path.unlink()
    path = tmp_path / "pickle.pt"
    path.write_bytes(pickle.dumps({"model": Calls(os.system, f"touch {canary}")}))
    refuse(path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    refuse(path, "TorchScript")
    assert not canary.exists()


TENSORS = [
    "encoder.layers.0.fc1.weight", "encoder.layers.2.self_attn.k_proj.bias", "post_extract_proj.weight", "layer_norm.weight",
    "feature_extractor.conv_layers.0.0.weight", "encoder.pos_conv.0.weight_g", "encoder.layers.1.final_layer_norm.bias",
]  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(tmp_path, hubert, name):
    path = tmp_path / "model.pt"
    good = hubert["model"][name]
    with_nan, with_infinity = good.clone(), good.clone()
    with_nan.view(-1)[0], with_infinity.view(-1)[-1] = float("nan"), float("inf")
    for bad in (None, good[:-1], good[None], torch.zeros(0), good.tolist()[0], "weight", {}, with_nan, with_infinity):
        content = {**hubert, "model": {**hubert["model"], name: bad}}
        if bad is None:
            del content["model"][name]
        torch.save(content, path)
        refuse(path)


def test_a_head(tmp_path, spin):
    path = tmp_path / "spin.pt"
    for key, value in [
        ("head.prototypes.0", torch.zeros(3, 8)), ("head.prototypes.0", torch.zeros(12, 9)), ("head.projection.0.bias", None),
        ("head.prototypes.0", torch.full((12, 8), float("nan"))), ("head.projection.0.weight", torch.zeros(8)),
        ("head.prototypes.1", torch.zeros(3, 8)), ("head.more", torch.zeros(1)), ("encoder.more", torch.zeros(1)),
    ]:  # fmt: skip
        content = {**spin, "state_dict": {**spin["state_dict"], key: value}}
        if value is None:
            del content["state_dict"][key]
        torch.save(content, path)
        refuse(path, load=load_spin)
    for key, value in [
        ("codebook_sizes", [13]), ("codebook_sizes", []), ("codebook_sizes", "many"), ("head_dims", [9]), ("head_dims", None),
        ("output_layer", 9), ("output_layer", 0), ("output_layer", "two"), ("freeze", "9"), ("encoder", {}), ("encoder", None),
        ("encoder", {"kind": "data2vec"}), ("encoder", 5),
    ]:  # fmt: skip
        content = copy.deepcopy({**spin, "state_dict": {}})
        content["state_dict"], content["model"][key] = spin["state_dict"], value
        torch.save(content, path)
        refuse(path, load=load_spin)


def test_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    for header in [
        b"", b"{", b"{}", b"[]", b"null", b"{" * 5000, b'{"a":1}', b'{"a":{}}', b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        json.dumps({"k" * 10_000: 1}).encode(), b"\xff" * 50,
    ]:  # fmt: skip
        for length in (len(header), len(header) + 9, 2**62):
            path.write_bytes(struct.pack("<Q", length) + header + bytes(4))
            refuse(path)


def test_folders_and_what_is_no_file(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, files in {
        "config alone": {"config.json": "{}"}, "no config": {"model.safetensors": ""}, "bad config": {"config.json": "{", "pytorch_model.bin": ""},
        "list": {"config.json": "[]", "model.safetensors": ""}, "bert": {"config.json": '{"model_type": "bert"}', "model.safetensors": "x"},
        "shards": {"config.json": "{}", "model.safetensors.index.json": "{}"},
    }.items():  # fmt: skip
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_text(content)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "around").symlink_to("around")
    names = [
        "empty",
        "gone",
        "pipe",
        "around",
        "config alone",
        "no config",
        "bad config",
        "list",
        "bert",
        "shards",
        "x" * 300,
    ]
    for name in names:
        refuse(tmp_path / name)
    for path in ("/dev/null", "/dev/zero", "a\0b", ""):
        must_refuse(KIND, lambda: load_encoder(path), CheckpointError, path)  # noqa: B023


@settings(deadline=None, max_examples=50, derandomize=True, report_multiple_bugs=False)
@given(place=st.floats(0, 1, exclude_max=True), changed=st.binary(min_size=1, max_size=4))
def test_changed_bytes(tmp_path_factory, hubert, place, changed):
    """In the pickle of the archive, under a checksum that is right again."""
    path = tmp_path_factory.getbasetemp() / "changed.pt"
    content = {**hubert, "model": {name: hubert["model"][name][:1] for name in TENSORS}}
    torch.save(content, path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = next(name for name in members if name.endswith("/data.pkl"))
    at = int(place * len(members[name]))
    members[name] = members[name][:at] + changed + members[name][at + len(changed) :]
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    assert may_refuse(KIND, lambda: load_encoder(path), CheckpointError, path) is None  # for its tensors are not whole
