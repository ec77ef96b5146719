import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spin_fairseq.errors import ShardError
from spin_fairseq.shards import Shard, ShardFolder, span


@given(st.lists(st.integers(0, 1000), max_size=60), st.integers(1, 70))
def test_every_row_is_in_one_shard_and_work_is_even(work, of):
    """Guards against rows that no shard has, or two have, and against shards that one machine waits for."""
    spans = [span(work, Shard(number + 1, of)) for number in range(of)]
    assert [row for begin, end in spans for row in range(begin, end)] == list(range(len(work)))
    most = sum(work) / of + max(work, default=0)
    assert all(sum(work[begin:end]) <= most + 1e-9 for begin, end in spans)


def test_work_counts_and_not_rows():
    assert [span([8, 1, 1, 1, 1, 4], Shard(number, 2)) for number in (1, 2)] == [(0, 1), (1, 6)]


@pytest.fixture
def folder(tmp_path):
    """Three finished shards, the second without a result."""
    folder = ShardFolder(tmp_path / "units.km")
    folder.path.mkdir()
    for number in (1, 2, 3):
        shard = Shard(number, 3)
        files = [folder.file(shard, ".km")] * (number != 2)
        for file in files:
            file.write_text(f"{number}\n")
        folder.finish(
            shard, "units", ["a.pt", "my audio", "--shard", str(shard)], "digest", files, {"utterances": number}
        )
    return folder


def test_records_come_in_order(folder):
    records = folder.records()
    assert [record.facts["utterances"] for record in records] == [1, 2, 3]
    assert [file.read_text() for file in folder.files(records, ".km")] == ["1\n", "3\n"]
    assert folder.is_finished(Shard(1, 3), "digest") and not folder.is_finished(Shard(1, 3), "other")


def test_names_are_in_the_order_of_shards():
    assert Shard(3, 64).name == "03-of-64" and Shard(7, 7).name == "7-of-7"


def message(folder):
    with pytest.raises(ShardError) as caught:
        folder.records()
    return str(caught.value)


def test_missing_shards_are_named_with_a_command(folder):
    folder.forget(Shard(2, 3))
    folder.forget(Shard(3, 3))
    assert (
        "of 3 shards, 2 are missing: 2, 3; run them, the first by: spin-fairseq units a.pt 'my audio' --shard 2/3"
        in message(folder)
    )
    shutil.rmtree(folder.path)
    assert "no finished shard there" in message(folder)


def test_what_is_cut_off_or_of_something_else_is_named(folder):
    """Guards against a merge of a file that was not copied to its end, or of an older checkpoint's units."""
    os.truncate(folder.file(Shard(3, 3), ".km"), 1)
    assert "1 are cut off, or lack a file: 3;" in message(folder) and not folder.is_finished(Shard(3, 3), "digest")
    folder.file(Shard(3, 3), ".km").write_text("3\n")
    record = folder.file(Shard(1, 3), ".json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "inputs": "older"}))
    assert "1 are made of other inputs or with other options than the rest: 1;" in message(folder)


def test_records_that_are_none(folder):
    folder.file(Shard(1, 4), ".json").write_text(folder.file(Shard(1, 3), ".json").read_text())
    assert "1-of-4.json: is no record of a shard (it is of shard 1/3)" in message(folder)
    folder.finish(Shard(1, 4), "units", [], "digest", [], {})
    assert "there are shards of 3 and of 4, which do not go together" in message(folder)


def test_two_processes_do_not_make_the_same_shard(folder):
    """Guards against a job that was queued again while its first try still writes."""
    with folder.alone(Shard(1, 3)):
        with folder.alone(Shard(2, 3)), pytest.raises(ShardError, match="another process works on shard 1/3 now"):
            with folder.alone(Shard(1, 3)):
                pass
    with folder.alone(Shard(1, 3)):
        pass


def test_out_may_be_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ShardFolder(".").path == tmp_path.with_name(f"{tmp_path.name}.shards")
    assert ShardFolder("data/mine/").path.name == "mine.shards"
    assert np.array(span([], Shard(1, 2))).tolist() == [0, 0]
