"""Phone labels and alignments that are none: refused by file and line."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.preparation.alignments import labels_of, read_textgrid
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.errors import PhoneLabelError
from tests.bad_inputs.judging import may_refuse, must_refuse
from tests.small_task import small_task

KIND = "labels"
GOOD = "1-2\tSIL,AH0,B"
ROWS = [  # the third of its file
    "1-3", "1-3\t", "\tSIL", "\t", "1-3 SIL,AH", "1-3\tSIL,,AH", "1-3\t,SIL", "1-3\tSIL,", "1-3\tSIL, AH", "1-3\t SIL",
    "1-3\tSIL\tAH", "1-3\tSIL,AH\t", "1-3\t" + ",".join(f"word{n}" for n in range(1200)), "1-2\tSIL,AH", "a.flac\t",
    "   ", "# a comment", "1-3\tSIL,\u00a0", '["1-3", ["SIL"]]', "1-3,SIL,AH", "1-3\t,", "1-3\t" + "," * 50_000, "x" * 50_000,
    "1-3\tSIL,AH ,B", "1-3\tA\vB, C",
]  # fmt: skip
FILES = [
    b"", b"\n\n", b"\xff\xfeS\0I\0L\0", b"\x80\x04\x95" + bytes(range(256)), b"/speech\na.flac\t100\n",
    b"\xc3\x28\tSIL\n", b"PK\x03\x04\x14\0", bytes(30), b"1-2\tSIL\n1-3\t\xe9\xe9\xff\n",
]  # fmt: skip
HEAD = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 1\ntiers? <exists>\nsize = 1\nitem []:\n'
)
TIER = '    item [1]:\n        class = "IntervalTier"\n        name = "phones"\n        intervals: size = 2\n'


def interval(begin, end, phone):
    return (
        f'        intervals [1]:\n            xmin = {begin}\n            xmax = {end}\n            text = "{phone}"\n'
    )


GRIDS = [
    "", HEAD, HEAD + TIER, HEAD + TIER.replace("phones", "words") + interval(0, 1, "A"), "\0" * 200, "ooTextFile short\n0\n1\n",
    HEAD + TIER + interval("zero", 1, "A"), HEAD + TIER + interval(0, "one", "A"), HEAD + TIER + interval(1, 0, "A"),
    HEAD + TIER + interval(0, 0.5, "A") + interval(0.2, 0.4, "B"), HEAD + TIER + interval("0,1", "0,2", "A"),
    HEAD + TIER + interval("nan", 1, "A"), HEAD + TIER + interval(0, "nan", "A"), HEAD + TIER + interval("--1", 1, "A"),
    HEAD + TIER + interval(0.5, 1, "A") + interval(0, 0.5, "B"), (HEAD + TIER)[:150], '{"tiers": {"phones": []}}',
    HEAD + TIER + interval(0, 1, "A").replace("text", "mark"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_rows(tmp_path, row):
    source = tmp_path / "dev.tsv"
    source.write_text("\n".join([GOOD, "1-1\tSIL", row]) + "\n")
    must_refuse(KIND, lambda: load_phone_labels(tmp_path, "dev"), PhoneLabelError, source, "line 3", folder=tmp_path)


@pytest.mark.parametrize("content", FILES, ids=range(len(FILES)))
def test_files(tmp_path, content):
    (tmp_path / "dev.tsv").write_bytes(content)
    must_refuse(
        KIND, lambda: load_phone_labels(tmp_path, "dev"), PhoneLabelError, tmp_path / "dev.tsv", folder=tmp_path
    )


@pytest.mark.parametrize("content", GRIDS, ids=range(len(GRIDS)))
def test_textgrids(tmp_path, content):
    path = tmp_path / "1-2.TextGrid"
    path.write_text(content)
    must_refuse(KIND, lambda: labels_of(read_textgrid(path), 16000), PhoneLabelError, path, folder=tmp_path)


def test_textgrids_of_other_bytes(tmp_path):
    path = tmp_path / "1-2.TextGrid"
    for content in (b"\xff\xfe", b"\xff\xfe\0", b"\xff\xfe\0\xd8", b"\xc3\x28", b"\x80" * 50, b"\xfe\xff\xd8\0\0a"):
        path.write_bytes(content)
        must_refuse(KIND, lambda: read_textgrid(path), PhoneLabelError, path)


def test_what_is_no_file(tmp_path):
    (tmp_path / "dev.tsv").mkdir()
    os.mkfifo(tmp_path / "pipe.tsv")
    for split in ("dev", "gone", "pipe", "x" * 300, "a\0b"):
        must_refuse(KIND, lambda: load_phone_labels(tmp_path, split), PhoneLabelError, folder=tmp_path)  # noqa: B023
    for path in ("dev.tsv", "gone", "pipe.tsv"):
        must_refuse(KIND, lambda: read_textgrid(tmp_path / path), PhoneLabelError, path, folder=tmp_path)  # noqa: B023


def test_labels_of_other_utterances(speech_folder, tmp_path):
    (tmp_path / "dev.tsv").write_text(GOOD + "\n")
    task = small_task(speech_folder, phones=str(tmp_path))
    must_refuse(KIND, lambda: task.load_dataset("dev"), PhoneLabelError, tmp_path, "6 of the 6")
    labels = load_phone_labels(tmp_path, "dev")
    must_refuse(KIND, lambda: labels["gone"], PhoneLabelError, "gone")


@settings(deadline=None, max_examples=60, derandomize=True, report_multiple_bugs=False)
@given(content=st.one_of(st.binary(max_size=40), st.text("aSIL0,\t\n \r", max_size=40).map(str.encode)))
def test_anything(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "any_labels"
    folder.mkdir(exist_ok=True)
    (folder / "dev.tsv").write_bytes(content)
    labels = may_refuse(KIND, lambda: load_phone_labels(folder, "dev"), PhoneLabelError, folder)
    if labels is not None:
        assert all(len(labels[name]) for name in labels.utterance_ids()) and all(labels.symbols)


@settings(deadline=None, max_examples=40, derandomize=True, report_multiple_bugs=False)
@given(
    times=st.lists(st.tuples(st.floats(), st.floats(), st.text("AB\" \n'", max_size=3)), max_size=4),
    junk=st.text('=[]:"x\n', max_size=10),
)
def test_any_textgrid(tmp_path_factory, times, junk):
    path = tmp_path_factory.getbasetemp() / "any.TextGrid"
    path.write_text(HEAD + TIER + "".join(interval(*each) for each in times) + junk)
    labels = may_refuse(KIND, lambda: labels_of(read_textgrid(path), 16000), PhoneLabelError, path)
    assert labels is None or len(labels) == 100
