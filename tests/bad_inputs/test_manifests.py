"""Manifests that are none: refused by file and line."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.speech.folder import manifest_of
from spin_fairseq.speech.manifest import load_manifest, write_manifest
from spin_fairseq.errors import ManifestError
from tests.bad_inputs.judging import may_refuse, must_refuse

KIND = "manifest"
GOOD = "a/1-2.flac\t16000"
ROWS = [  # of a .tsv, each the third of its file
    "a/1.flac", "a/1.flac\t", "a/1.flac\tmany", "a/1.flac\t-1", "a/1.flac\t0", "a/1.flac\t1.5", "a/1.flac\t1e5",
    "a/1.flac\t16 000", "a/1.flac\t16,000", "a/1.flac\t+16000", "a/1.flac\t0x10", "a/1.flac\tnan", "a/1.flac\tinf",
    "a/1.flac\t" + "9" * 19, "a/1.flac\t" + "9" * 400, "a/1.flac\t\t", "\t16000", "\t\t", "\t", "a/1.flac 16000",
    "a/1.flac\t16000\t", "a/1.flac\t16000\tme\tmore", "a/1.flac\t\t16000", "a/1\0.flac\t16000", "a/1.flac\t16000\0",
    "a/1.flac\t١٦٠٠٠", "a/1.flac\t１６０００", "a/1.flac\t16000 ", "a/1.flac\t 16000", "a/1.flac\t000", "x" * 100_000,
    "a/1.flac\tTrue", "a/1.flac\tNone", "a/1.flac,16000", "a/1.flac;16000", "a/1.flac\t16000\t\t", "# a comment",
    '{"path": "a/1.flac", "samples": 16000}', "a/1.flac\t16000\v\tx", "", "   ",
]  # fmt: skip
FILES = [  # whole ones, as .tsv
    b"", b"\n", b"\n\n\n", b"   ", b"/speech", b"/speech\n", b"/speech\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf/speech\n", bytes(100),
    b"\xff\xfe/\0r\0\n\0a\0\t\0" + b"1\0", b"a.flac\t100\nb.flac\t100\n", b"/speech\0x\na.flac\t100\n", b"PK\x03\x04" * 20,
    b"\x80\x04\x95" + bytes(range(256)),
]  # fmt: skip
JSON_ROWS = [
    [], ["a.flac"], ["a.flac", "1"], ["a.flac", 1.5], ["a.flac", 0], ["a.flac", -1], ["a.flac", True], ["a.flac", None],
    ["a.flac", 10**18], ["a.flac", 10**400], ["a.flac", 1, ""], ["a.flac", 1, 2], ["a.flac", 1, "me", 3], ["", 1],
    [None, 1], [1, "a.flac"], [["a.flac"], 1], ["a\0.flac", 1], {"a.flac": 1}, "a.flac", 5, None, True, ["a.flac", [1]],
    ["a.flac", {"samples": 1}], [{}, 1], ["\ud800", 1], ["a.flac", 1, "\udfff\ud800"],
]  # fmt: skip
JSON_FILES = [
    b"", b"[", b"[]", b"{}", b"null", b"1", b'"a"', b"[[", b'[["a.flac", 1', b'[["a.flac", 1]', b'[["a.flac", 1],',
    b'[["a.flac", 1],]', b'[["a.flac", 1] ["b.flac", 1]]', b'[["a.flac", 1]]]', b'[["a.flac", 1]] x', b"[NaN]",
    b"[[NaN, 1]]", b'[["a.flac", NaN]]', b'[["a.flac", Infinity]]', b"['a.flac', 1]", b"[" * 100_000, b"\xff\xfe[\0",
    b'[["a.flac", ' + b"9" * 5000 + b"]]", b"[" + b'["a.flac", 1],' * 3, bytes(10), b"PK\x03\x04" * 10,
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_rows(tmp_path, row):
    source = tmp_path / "train.tsv"
    source.write_text("\n".join(["/speech", GOOD, row, GOOD]) + "\n")
    must_refuse(KIND, lambda: load_manifest(tmp_path, "train"), ManifestError, source, "line 3", folder=tmp_path)


@pytest.mark.parametrize("content", FILES, ids=range(len(FILES)))
def test_files(tmp_path, content):
    (tmp_path / "train.tsv").write_bytes(content)
    must_refuse(KIND, lambda: load_manifest(tmp_path, "train"), ManifestError, tmp_path / "train.tsv", folder=tmp_path)


@pytest.mark.parametrize("row", JSON_ROWS, ids=range(len(JSON_ROWS)))
def test_rows_of_the_references_lists(tmp_path, row):
    source = tmp_path / "train.json"
    source.write_text(json.dumps([["a.flac", 16000], row]))
    must_refuse(KIND, lambda: load_manifest(tmp_path, "train"), ManifestError, source, "row 2", folder=tmp_path)


@pytest.mark.parametrize("content", JSON_FILES, ids=range(len(JSON_FILES)))
def test_the_references_lists(tmp_path, content):
    (tmp_path / "train.json").write_bytes(content)
    must_refuse(KIND, lambda: load_manifest(tmp_path, "train"), ManifestError, tmp_path / "train.json", folder=tmp_path)


def test_what_is_no_file(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.tsv").mkdir()
    os.mkfifo(tmp_path / "folder" / "pipe.tsv")
    (tmp_path / "folder" / "around.tsv").symlink_to("around.tsv")
    (tmp_path / "file").write_text("x")
    for data, split in [
        ("gone", "train"), ("file", "train"), ("empty", "train"), ("folder", "train"), ("folder", "pipe"),
        ("folder", "around"), ("folder", "gone"), ("folder", "x" * 300), ("folder", "a\0b"), ("folder", ""), ("a\0b", "x"),
        ("x" * 300, "train"), ("", "gone"),
    ]:  # fmt: skip
        must_refuse(KIND, lambda: load_manifest(tmp_path / data, split), ManifestError, folder=tmp_path)  # noqa: B023
    for path in ("gone", "file", "empty", "folder/gone.tsv", "empty/gone.json"):
        must_refuse(KIND, lambda: manifest_of(tmp_path / path), ManifestError, tmp_path, folder=tmp_path)  # noqa: B023


@pytest.mark.parametrize(
    "row",
    [("a\tb", 1), ("a\nb", 1), ("", 1), ("a", 0), ("a", -5), ("a", 1, ""), ("a", 1, "b\tc"), ("a\rb", 1), ("a\0b", 1),
     ("\ud800", 1), ("a", 1, "\ud800")],
)  # fmt: skip
def test_rows_that_are_not_written(tmp_path, row):
    """And the manifest that was there stays."""
    target = tmp_path / "train.tsv"
    target.write_text("before")
    rows = [("good.flac", 1), row]
    must_refuse(KIND, lambda: write_manifest(target, "/speech", rows), ManifestError, target, folder=tmp_path)


texts = st.one_of(st.binary(max_size=60), st.text("a/.\t\n\r0123456789 -\0\u0661", max_size=60).map(str.encode))


@settings(deadline=None, max_examples=120, derandomize=True, report_multiple_bugs=False)
@given(content=texts, suffix=st.sampled_from(["tsv", "json"]))
def test_anything(tmp_path_factory, content, suffix):
    """What is taken has rows that can be used."""
    folder = tmp_path_factory.getbasetemp() / "any_manifest"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / f"train.{suffix}").write_bytes((b"/speech\na.flac\t100\n" if suffix == "tsv" else b"") + content)
    manifest = may_refuse(KIND, lambda: load_manifest(folder, "train"), ManifestError, folder)
    if manifest is not None:
        for index in range(len(manifest)):
            assert manifest.sizes[index] > 0 and manifest.path(index) and isinstance(manifest.speaker(index), str)
