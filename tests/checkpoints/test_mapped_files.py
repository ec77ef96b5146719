"""That maps of a file give back their memory, that nothing else does, and that the numbers stay."""

import re
import sys
import zipfile

import pytest
import torch

from spin_fairseq.checkpoints.files import read_file
from spin_fairseq.checkpoints.mapped_files import give_back, maps_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is given back")

NUMBERS = 1_000_000


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a file.pt"
    torch.save({"x": torch.arange(NUMBERS), "y": torch.ones(3)}, path)
    return path


def mapped(path):
    return torch.load(str(path), mmap=True)


def resident(begin):
    """Bytes of the map that begins at this address that are in memory."""
    with open("/proc/self/smaps") as file:
        content = file.read()
    return 1024 * int(re.search(rf"^{begin:x}-.*?^Rss: +(\d+) kB", content, re.MULTILINE | re.DOTALL)[1])


def test_pages_are_dropped_and_read_again(path):
    tensors = mapped(path)
    [(begin, end)] = maps = maps_of(str(path), tensors.values())
    assert begin <= tensors["x"].data_ptr() < end
    total = tensors["x"].sum()
    assert resident(begin) > 7 * NUMBERS
    give_back(maps)
    assert resident(begin) < 100_000
    assert tensors["x"].sum() == total == NUMBERS * (NUMBERS - 1) // 2 and tensors["y"].tolist() == [1, 1, 1]


def test_of_a_folder_and_of_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"x": torch.arange(NUMBERS)}, tmp_path / "model.safetensors")
    tensors = safetensors.load_file(tmp_path / "model.safetensors")
    assert len(maps_of(tmp_path, tensors.values())) == 1


def test_others_maps_of_the_same_file_are_let_be(path):
    theirs, ours = mapped(path), mapped(path)
    theirs["x"] += 1  # as a training does whose weights are maps
    give_back(maps_of(path, ours.values()))
    assert theirs["x"][0] == 1 and ours["x"][0] == 0


def test_tensors_in_memory_are_let_be(path):
    tensors = {**torch.load(path), "z": torch.zeros(5)}
    still_there = mapped(path)
    assert maps_of(path, tensors.values()) == []
    assert len(maps_of(path, still_there.values())) == 1


def test_what_is_mended_in_memory_is_no_map(path, tmp_path):
    """Of a file in the other order of bytes: what is written to a map is lost when its pages are dropped."""
    other = tmp_path / "other.pt"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(other, "w") as swapped:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("/byteorder"):
                content = b"big"
            elif "/data/" in name:
                size = 8 if len(content) > 100 else 4  # int64 and float32
                content = b"".join(content[i : i + size][::-1] for i in range(0, len(content), size))
            swapped.writestr(name, content)
    for file, count in ((path, 1), (other, 0)):
        tensors = read_file(file)
        give_back(maps_of(file, tensors.values()))
        assert len(maps_of(file, tensors.values())) == count
        assert tensors["x"][-1] == NUMBERS - 1 and tensors["y"].tolist() == [1, 1, 1]
