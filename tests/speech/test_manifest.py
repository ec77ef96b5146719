import json
import multiprocessing
import os
import pickle
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spin_fairseq.speech import fairseq_manifest as fairseq_manifest_module
from spin_fairseq.speech import reference_list as reference_list_module
from spin_fairseq.speech.manifest import load_manifest, write_manifest
from spin_fairseq.errors import ManifestError
from tests.forked_memory import bytes_copied_by

# Names that a .tsv can hold: no tab, line break or NUL; slashes make folders.
names = st.text(st.characters(blacklist_characters="\t\n\r\0", blacklist_categories=["Cs"]), min_size=1, max_size=12)
sizes = st.integers(1, 10**12)
places = st.builds(
    "{}.{}:{}:{}".format, names, st.sampled_from(["zip", "tar"]), st.integers(0, 10**12), st.integers(0, 10**9)
)
plain_rows = st.tuples(names, sizes) | st.tuples(names, sizes, names)
rows = plain_rows | st.tuples(places, sizes) | st.tuples(places, sizes, names) | st.tuples(places, sizes, names, names)


def by_python(path):
    """The obvious reader that the fast one is compared with: a line at a time. -> (path, samples, id, speaker)."""
    with open(path, encoding="utf-8-sig", newline="\n") as file:
        root, *lines = [line.rstrip("\r\n") for line in file]
    while lines and not lines[-1]:
        lines.pop()
    found, paths = [], []
    for line in lines:
        place, samples, *more = line.split("\t")
        name = os.path.join(root, more[1] if len(more) > 1 else place)
        name = name[len(root) + 1 :] if name.startswith(f"{root}/") else name
        if len(more) > 1:
            name = more[1]
        in_archive = re.search(r"\.(zip|tar):[0-9]{1,18}:[0-9]{1,18}$", name)
        file = os.path.basename(name)
        utterance = file if in_archive and len(more) < 2 else os.path.splitext(file)[0]
        speaker = more[0] if more else utterance.split("-")[0]
        found.append((os.path.join(path.parent, root, place), int(samples), utterance, speaker))
        paths.append((name if in_archive else os.path.splitext(name)[0], name))
    stems, short = Counter(row[2] for row in found), Counter(short for short, _ in paths)
    return [
        (place, samples, utterance if stems[utterance] == 1 else below if short[below] == 1 else name, speaker)
        for (place, samples, utterance, speaker), (below, name) in zip(found, paths)
    ]


def by_manifest(manifest):
    columns = manifest.path, lambda i: int(manifest.sizes[i]), manifest.utterance_id, manifest.speaker
    return [tuple(column(i) for column in columns) for i in range(len(manifest))]


def write(folder, content, name="train.tsv"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_reads_fairseq_manifest(tmp_path):
    write(tmp_path, "/speech\n84/121/84-121-0001.flac\t16000\nother/a-b.wav\t77\tanna\n")
    manifest = load_manifest(tmp_path, "train")
    assert len(manifest) == 2 and manifest.source == tmp_path / "train.tsv"
    assert manifest.sizes.dtype == np.int64 and manifest.sizes.tolist() == [16000, 77]
    assert manifest.path(0) == "/speech/84/121/84-121-0001.flac"
    assert [manifest.utterance_id(i) for i in range(2)] == ["84-121-0001", "a-b"]
    assert [manifest.speaker(i) for i in range(2)] == ["84", "anna"]
    assert manifest.speakers() == {"84", "anna"}


def test_relative_root_is_relative_to_the_manifest(tmp_path):
    write(tmp_path, "../audio\na.flac\t5\n")
    assert os.path.normpath(load_manifest(tmp_path, "train").path(0)) == str(tmp_path.parent / "audio" / "a.flac")


def test_line_ends_of_windows_and_byte_order_mark(tmp_path):
    write(tmp_path, b"\xef\xbb\xbf/speech\r\na.flac\t5\r\nb.flac\t6\tbob\r\n\r\n")
    manifest = load_manifest(tmp_path, "train")
    assert manifest.path(0) == "/speech/a.flac" and manifest.sizes.tolist() == [5, 6] and manifest.speaker(1) == "bob"


def test_rows_of_archives_go_by_the_path_that_the_file_had(tmp_path):
    row = "in/some-1.zip:1234:567\t16000"
    write(tmp_path, f"/r\n{row}\t84\t84/121/84-121-0001.flac\n{row}\teve\n{row}\na-b:1:2.wav:3:4\t5\nx-y:1:2\t5\n")
    manifest = load_manifest(tmp_path, "train")
    assert [manifest.path(i) for i in range(3)] == ["/r/in/some-1.zip:1234:567"] * 3
    assert [manifest.utterance_id(i) for i in range(3)] == ["84-121-0001", *["in/some-1.zip:1234:567"] * 2]
    assert [manifest.speaker(i) for i in range(3)] == ["84", "eve", "some"]
    assert [manifest.name(i) for i in range(2)] == ["84/121/84-121-0001.flac", "in/some-1.zip:1234:567"]
    # Colons alone make no archive.
    assert [manifest.path(i) for i in (3, 4)] == ["/r/a-b:1:2.wav:3:4", "/r/x-y:1:2"]
    assert [manifest.utterance_id(i) for i in (3, 4)] == ["a-b:1:2", "x-y:1:2"] and manifest.speaker(4) == "x"


def test_name_of_an_absolute_path_is_the_part_below_the_root(tmp_path):
    write(tmp_path, "/r\n/r/a/b.flac\t5\n/s/b.flac\t5\n")
    manifest = load_manifest(tmp_path, "train")
    assert [manifest.name(i) for i in range(2)] == ["a/b.flac", "/s/b.flac"]


def test_select_by_mask_and_by_indices(tmp_path):
    write_manifest(tmp_path / "train.tsv", "/r", [(f"{i}-x.flac", i + 1, f"s{i}") for i in range(5)])
    manifest = load_manifest(tmp_path, "train")
    kept = manifest.select(manifest.sizes > 3)
    assert [kept.path(i) for i in range(len(kept))] == ["/r/3-x.flac", "/r/4-x.flac"]
    again = kept.select(np.array([1, 0]))
    assert [again.speaker(i) for i in range(2)] == ["s4", "s3"] and again.sizes.tolist() == [5, 4]
    assert len(manifest.select([])) == 0 and len(manifest) == 5


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    """`anna/001.wav` and `ben/001.wav` had one id: units and labels could not be told apart."""
    rows = ["anna/001.wav", "ben/001.wav", "ben/001.flac", "ben/002.wav", "003.wav", "cleo/003.wav"]
    write_manifest(tmp_path / "dev.tsv", "/r", [(row, 5) for row in rows])
    manifest = load_manifest(tmp_path, "dev")
    ids = ["anna/001", "ben/001.wav", "ben/001.flac", "002", "003", "cleo/003"]
    assert [manifest.utterance_id(i) for i in range(6)] == ids
    some = load_manifest(tmp_path, "dev").select(np.array([3, 0]))  # alone, its id is that of the whole
    assert [some.utterance_id(i) for i in range(2)] == ["002", "anna/001"]
    assert some.select([1]).utterance_id(0) == "anna/001" and [manifest.speaker(i) for i in range(2)] == ["001", "001"]


def test_survives_pickling(tmp_path):
    write_manifest(tmp_path / "train.tsv", "/r", [("1-x.flac", 9)])
    assert pickle.loads(pickle.dumps(load_manifest(tmp_path, "train"))).path(0) == "/r/1-x.flac"


def test_reads_reference_json(tmp_path):
    rows = [["/abs/1-2-3.flac", 160], ["below/4-5-6.flac", 320], ["é\t\n.flac", 7, "eve"]]
    write(tmp_path, json.dumps(rows, indent=2), "train.json")
    manifest = load_manifest(tmp_path, "train")
    assert manifest.sizes.tolist() == [160, 320, 7]
    assert [manifest.path(i) for i in range(3)] == [
        "/abs/1-2-3.flac",
        f"{tmp_path}/below/4-5-6.flac",
        f"{tmp_path}/é\t\n.flac",
    ]
    assert [manifest.speaker(i) for i in range(3)] == ["1", "4", "eve"]
    assert manifest.select(np.array([2])).utterance_id(0) == "é\t\n"


def test_tsv_comes_before_json(tmp_path):
    write(tmp_path, json.dumps([["j.flac", 1]]), "train.json")
    write(tmp_path, "/r\nt.flac\t2\n")
    assert load_manifest(tmp_path, "train").utterance_id(0) == "t"


@given(
    st.lists(rows, min_size=1, max_size=30), st.integers(1, 64), st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]), st.integers(0, 2),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_equals_the_obvious_reader(tmp_path_factory, rows, chunk, newline, mark, newlines_at_the_end):
    folder = tmp_path_factory.mktemp("m")
    lines = ["/speech", *("\t".join(map(str, row)) for row in rows)]
    write(folder, mark + newline.join(lines) + newline * newlines_at_the_end)
    whole = fairseq_manifest_module.CHUNK_BYTES
    try:
        fairseq_manifest_module.CHUNK_BYTES = chunk  # many tiny chunks: their seams must not show
        manifest = load_manifest(folder, "train")
    finally:
        fairseq_manifest_module.CHUNK_BYTES = whole
    expected = by_python(folder / "train.tsv")
    assert by_manifest(manifest) == expected
    assert manifest.speakers() == {speaker for *_, speaker in expected}
    assert list(manifest.rows(range(len(rows)))) == rows

    backwards = manifest.select(np.arange(len(rows))[::-1])
    assert by_manifest(backwards) == expected[::-1] and backwards.speakers() == manifest.speakers()


@given(st.lists(rows, min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("m")
    write_manifest(folder / "train.tsv", "/speech", rows)
    manifest = load_manifest(folder, "train")
    assert list(manifest.rows(range(len(rows)))) == rows
    write_manifest(folder / "again.tsv", "/speech", manifest.rows(range(len(rows))))
    assert (folder / "again.tsv").read_bytes() == (folder / "train.tsv").read_bytes()
    (folder / "list.json").write_text(json.dumps([(f"/speech/{path}", *more) for path, *more in rows]))
    listed = load_manifest(folder, "list")
    assert listed.sizes.tolist() == manifest.sizes.tolist() and [*map(listed.speaker, range(len(rows)))] == [
        *map(manifest.speaker, range(len(rows)))
    ]


@given(
    st.lists(
        st.tuples(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1), sizes),
        min_size=1,
    ),
    st.integers(1, 64),
)
@settings(max_examples=60, deadline=None)
def test_json_round_trip_in_tiny_chunks(tmp_path_factory, rows, chunk):
    folder = tmp_path_factory.mktemp("m")
    write(folder, json.dumps(rows, ensure_ascii=False, indent=len(rows) % 3 or None), "train.json")
    whole = reference_list_module.CHUNK_CHARACTERS
    try:
        reference_list_module.CHUNK_CHARACTERS = chunk
        manifest = load_manifest(folder, "train")
    finally:
        reference_list_module.CHUNK_CHARACTERS = whole
    assert [manifest.path(i) for i in range(len(manifest))] == [os.path.join(folder, path) for path, _ in rows]
    assert manifest.sizes.tolist() == [samples for _, samples in rows]


@given(
    st.lists(
        st.sampled_from(
            [b"a", b"\t", b"\n", b"\r", b"7", b"0", b"-", b"\0", b"\xff", b" ", b"/r\n", b"x\t5\n", b"x.zip:1:2", b":"]
        )
    ).map(b"".join)
    | st.binary()
)
@example(b"")
@example(b"\n")
@example(b"/r")
@example(b"/r\n")
@example(b"/r\n\n\nx\t5")
@example(b"/r\nx\t" + b"9" * 40)
@settings(max_examples=300, deadline=None)
def test_garbage_tsv_is_a_manifest_error_or_a_manifest(tmp_path_factory, content):
    folder = write(tmp_path_factory.mktemp("m"), content)
    try:
        manifest = load_manifest(folder, "train")
    except ManifestError as error:
        assert str(folder / "train.tsv") in str(error)
    else:
        assert len(manifest) > 0 and (manifest.sizes > 0).all()
        for i in range(len(manifest)):
            assert manifest.path(i) and "\0" not in manifest.path(i) and isinstance(manifest.speaker(i), str)


@given(
    st.lists(
        st.sampled_from(
            ["[", "]", ",", '"a"', "5", " ", "\\", '"', "{", "}", "null", '["a",5]', "1e9", "\ufeff", "-", "\\ud800"]
        )
    ).map("".join)
    | st.text()
)
@example("[" * 100000)
@example('[["a", ' + "9" * 6000 + "]]")
@example('[["\\ud800", 5]]')
@example('[["a", true]]')
@example('[["a", 5]')
@example('[["a", 5],]')
@example('[["a", 5]] x')
@example("{}")
@example("[]")
@settings(max_examples=300, deadline=None)
def test_garbage_json_is_a_manifest_error_or_a_manifest(tmp_path_factory, content):
    folder = write(tmp_path_factory.mktemp("m"), content.encode("utf-8", "surrogatepass"), "train.json")
    try:
        manifest = load_manifest(folder, "train")
    except ManifestError as error:
        assert str(folder / "train.json") in str(error)
    else:
        assert len(manifest) == len(json.loads(content.lstrip("\ufeff")))


@pytest.mark.parametrize(
    "row, complaint",
    [
        ("b.flac", "no tab"),
        ("b.flac 16000", "no tab"),
        ("b.flac\tlong", "not a positive whole number"),
        ("b.flac\t1.5", "not a positive whole number"),
        ("b.flac\t0", "not a positive whole number"),
        ("b.flac\t-5", "not a positive whole number"),
        ("b.flac\t", "not a positive whole number"),
        ("b.flac\t" + "1" * 30, "not a positive whole number"),
        ("\t5", "path is empty"),
        ("b.flac\t5\t", "speaker is empty"),
        ("b.flac\t5\tx\ty", "4 columns"),
        ("b.flac\t5\tx\ty\tz", "5 columns"),
        ("b.zip:1:2\t5\tx\ty\tz", "5 columns"),
        ("b.zip:1:2\t5\tx\t", "speaker or the name is empty"),
        ("b.zip:1:2\t5\t\ty", "speaker or the name is empty"),
        ("b.zip:1:2\t0\tx\ty", "not a positive whole number"),
        ("b.zip:1:x2\t5\tx\ty", "4 columns, but its path is not archive.zip:offset:length"),
        ("b.zip:1\t5\tx\ty", "4 columns, but its path is not"),
        ("b.zip::2\t5\tx\ty", "4 columns, but its path is not"),
        ("b:1:2\t5\tx\ty", "4 columns, but its path is not"),
        ("zip:1:2\t5\tx\ty", "4 columns, but its path is not"),
        ("b.zip:1:" + "1" * 19 + "\t5\tx\ty", "4 columns, but its path is not"),
        ("", "blank"),
        ("b\0.flac\t5", "NUL"),
    ],
)
def test_malformed_row_is_named(tmp_path, row, complaint):
    write(tmp_path, f"/r\na.flac\t1\n{row}\nc.flac\t3\n")
    with pytest.raises(ManifestError, match=f"train.tsv, line 3: .*{complaint}"):
        load_manifest(tmp_path, "train")


@pytest.mark.parametrize(
    "row",
    [
        '"b"',
        '["b"]',
        '["b", "5"]',
        '["b", 0]',
        '["b", 1.5]',
        '["", 5]',
        '["b", 5, 6]',
        "{}",
        '["b", 5, "x", "y"]',
        '["b.zip:1:2", 5, "x", ""]',
        '["b.zip:1:2", 5, "x", "y", "z"]',
        '["b", 5, "x\\u0000"]',
    ],
)
def test_malformed_json_row_is_named(tmp_path, row):
    write(tmp_path, f'[["a", 1], {row}]', "train.json")
    with pytest.raises(ManifestError, match="train.json, row 2: "):
        load_manifest(tmp_path, "train")


def test_malformed_row_in_a_later_chunk_has_the_right_line(tmp_path, monkeypatch):
    monkeypatch.setattr(fairseq_manifest_module, "CHUNK_BYTES", 50)
    write(tmp_path, "/r\n" + "".join(f"{i}.flac\t{i + 1}\n" for i in range(200)) + "bad\n")
    with pytest.raises(ManifestError, match="line 202"):
        load_manifest(tmp_path, "train")


def test_missing_folder_and_missing_split(tmp_path):
    with pytest.raises(ManifestError, match="no such folder"):
        load_manifest(tmp_path / "nowhere", "train")
    with pytest.raises(ManifestError, match="no .tsv or .json files"):
        load_manifest(tmp_path, "train")
    write(tmp_path, "/r\na\t1\n", "dev.tsv")
    with pytest.raises(ManifestError, match="the splits there are: dev"):
        load_manifest(tmp_path, "train")


def test_first_line_that_is_a_row(tmp_path):
    with pytest.raises(ManifestError, match="line 1: .*root folder"):
        load_manifest(write(tmp_path, "a.flac\t5\nb.flac\t6\n"), "train")


@pytest.mark.parametrize(
    "row",
    [
        ("a\tb", 5),
        ("a\nb", 5),
        ("", 5),
        ("a", 0),
        ("a", 5, "x\ty"),
        ("a", 5, ""),
        ("a\ud800", 5),
        ("a", 5, "x", "y"),
        ("a.zip:1:2", 5, "x", ""),
        ("a.zip:1:2", 5, "x", "y\r"),
    ],  # fmt: skip
)
def test_a_row_that_cannot_be_written_leaves_the_old_file(tmp_path, row):
    write(tmp_path, "/r\nold.flac\t5\n")
    with pytest.raises(ManifestError):
        write_manifest(tmp_path / "train.tsv", "/r", [("good", 1), row])
    assert load_manifest(tmp_path, "train").utterance_id(0) == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["train.tsv"]


def test_names_that_are_not_utf8_round_trip(tmp_path):
    name = os.fsdecode(b"caf\xe9-1.flac")
    write_manifest(tmp_path / "train.tsv", "/r", [(name, 5)])
    assert os.fsencode(load_manifest(tmp_path, "train").path(0)) == b"/r/caf\xe9-1.flac"


@pytest.fixture(scope="module")
def large_manifest(tmp_path_factory):
    """200,000 rows of a packed corpus: 12 MB."""
    folder = tmp_path_factory.mktemp("large")
    rows = (
        (f"{i // 999}.zip:{i}{i}:{i}", i + 1, f"{i % 77}", f"{i}/{i % 77}-{i}/{i % 77}-{i}.flac")
        for i in range(200_000)
    )
    write_manifest(folder / "train.tsv", "/r", rows)
    return load_manifest(folder, "train")


def test_many_rows_cost_little_memory(large_manifest):
    held = [
        getattr(value, "nbytes", 0) or len(value)
        for value in vars(large_manifest).values()
        if hasattr(value, "__len__")
    ]
    assert sum(held) < large_manifest.source.stat().st_size + 20 * len(large_manifest)
    n = len(large_manifest) - 1
    assert large_manifest.utterance_id(n) == f"{n % 77}-{n}" and len(large_manifest.speakers()) == 77


def copied_by_a_worker(folder):
    """Bytes that a forked worker copies while it looks up every third row."""
    manifest = load_manifest(folder, "train")
    manifest.utterance_id(0)  # finds the names that several files have, once

    def look_up():
        for i in range(0, len(manifest), 3):
            manifest.path(i), manifest.utterance_id(i), manifest.speaker(i), manifest.sizes[i]

    return bytes_copied_by(look_up)


def test_forked_workers_share_a_manifest(large_manifest):
    """What a worker looks up is not copied with what lies around it: not one page in ten becomes its own.

    Measured in a new process: nothing else forks or writes there.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        copied = pool.submit(copied_by_a_worker, large_manifest.source.parent).result()
    assert copied < 0.1 * large_manifest.source.stat().st_size
