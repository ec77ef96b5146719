"""Files and folders appear whole or not at all, and what cannot be written is said with a remedy."""

import ast
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spin_fairseq.errors import AudioError, CheckpointError, ManifestError
from spin_fairseq.files import whole_file, whole_folder, write_bytes, write_text

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def limited():
    """limited(bytes): no file may become larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_name_at_the_end(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with whole_file(path, ManifestError) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".txt" and temporary.name.startswith(".")  # what a writer makes of the name
        assert not path.exists()
    assert path.read_text() == "whole" and names(path.parent) == ["file.txt"]


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old", ManifestError)
    with pytest.raises(ZeroDivisionError):
        with whole_file(path, ManifestError) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError
    assert path.read_text() == "old" and names(tmp_path) == ["file.txt"]


def save_tensor(path):
    with open(path, "wb") as file:
        torch.save(torch.zeros(50000), file)


@pytest.mark.parametrize("write", [lambda path: path.write_bytes(bytes(200000)), save_tensor], ids=["bytes", "tensor"])
def test_a_full_disk_is_told(tmp_path, limited, write):
    """torch raises an error of its own, which names an offset and no file."""
    path = tmp_path / "file"
    write_bytes(path, b"old", CheckpointError)
    limited(100000)
    with pytest.raises(
        CheckpointError, match=r"file: cannot be written: File too large; make room there \([\d,]+ MB are free\)"
    ):
        with whole_file(path, CheckpointError) as temporary:
            write(temporary)
    assert path.read_bytes() == b"old" and names(tmp_path) == ["file"]


@pytest.mark.parametrize("place", ["file/below", "folder"])
def test_a_place_that_is_taken_is_told(tmp_path, place):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ManifestError, match="cannot be written: .*; choose another place"):
        write_text(tmp_path / place, "text", ManifestError)
    assert names(tmp_path) == ["file", "folder"]


def test_what_cannot_be_read_is_not_taken_for_what_cannot_be_written(tmp_path):
    """The remedy would be for the wrong file."""
    with pytest.raises(FileNotFoundError, match="missing"):
        with whole_file(tmp_path / "file", ManifestError):
            open(tmp_path / "elsewhere" / "missing")
    with pytest.raises(AudioError, match="is no audio"):
        with whole_file(tmp_path / "file", ManifestError):
            try:
                open(tmp_path / "file")
            except OSError as error:
                raise AudioError("is no audio") from error


def test_a_killed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    code = (
        "import os, sys; from spin_fairseq.files import whole_file; from spin_fairseq.errors import ManifestError\n"
        "with whole_file(sys.argv[1], ManifestError, temporary=sys.argv[1] + '.part') as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), 9)"
    )
    process = subprocess.run([sys.executable, "-c", code, str(path)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (
        process.returncode == -signal.SIGKILL and path.read_text() == "old" and names(tmp_path) == ["file", "file.part"]
    )
    with whole_file(path, ManifestError, temporary=f"{path}.part") as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new" and names(tmp_path) == ["file"]


def test_a_folder_takes_its_name_at_the_end(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with whole_folder(tmp_path / "folder", CheckpointError) as temporary:
            (temporary / "a").write_text("half")
            raise ZeroDivisionError
    assert names(tmp_path) == []
    with whole_folder(tmp_path / "folder", CheckpointError) as temporary:
        (temporary / "a").write_text("whole")
        (temporary / "a").chmod(0o600)
    assert names(tmp_path) == ["folder"] and (tmp_path / "folder" / "a").stat().st_mode & 0o444
    with pytest.raises(CheckpointError, match="folder: exists already"):
        with whole_folder(tmp_path / "folder", CheckpointError):
            pass


def test_nobody_else_renames_files():
    """A second way of writing would forget the flush, the folder, or the error."""
    allowed = {"files.py", "extraction/resumable.py"}  # the second gives several files their names at a time
    package = ROOT / "spin_fairseq"
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.replace", "os.rename", "shutil.move"):
                found.add(path.relative_to(package).as_posix())
    assert found == allowed
