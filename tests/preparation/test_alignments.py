import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spin_fairseq.preparation.alignments import labels_of, read_textgrid, write_phone_labels
from spin_fairseq.speech.manifest import load_manifest, write_manifest
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.errors import PhoneLabelError


def tier(number, name, intervals):
    lines = [
        f"    item [{number}]:",
        '        class = "IntervalTier" ',
        f'        name = "{name}" ',
        "        xmin = 0 ",
        f"        xmax = {intervals[-1][1]} ",
        f"        intervals: size = {len(intervals)} ",
    ]
    for i, (begin, end, text) in enumerate(intervals, start=1):
        lines += [f"        intervals [{i}]:", f"            xmin = {begin} ", f"            xmax = {end} "]
        lines += [f'            text = "{text}" ']
    return "\n".join(lines) + "\n"


def textgrid(phones, words=((0.0, 0.5, "phones"),)):
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0 \nxmax = 0.5 \ntiers? <exists> \nsize = 2 \nitem []: \n'
    return head + tier(1, "words", words) + tier(2, "phones", phones)


PHONES = [(0.0, 0.03, ""), (0.03, 0.065, "AH0"), (0.065, 0.09, "T"), (0.09, 0.1, "sp"), (0.1, 0.2, "spn")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_reads_the_phone_tier_alone(tmp_path, encoding):
    (tmp_path / "a.TextGrid").write_text(textgrid(PHONES), encoding=encoding)
    assert read_textgrid(tmp_path / "a.TextGrid") == PHONES


def test_phone_tier_before_the_words(tmp_path):
    (tmp_path / "a.TextGrid").write_text("item []:\n" + tier(1, "phones", PHONES) + tier(2, "words", [(0, 9, "x")]))
    assert read_textgrid(tmp_path / "a.TextGrid") == PHONES


def test_a_label_holds_at_the_middle_of_its_10_ms():
    labels = labels_of(PHONES, 16000 * 22 // 100 + 159)
    assert labels == ["SIL"] * 3 + ["AH"] * 3 + ["T"] * 3 + ["SIL"] + ["SPN"] * 10 + ["SIL"] * 2


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["AH", "T", ""])), min_size=1, max_size=20),
    st.integers(0, 9000),
)
@settings(max_examples=60, deadline=None)
def test_equals_the_obvious_loop(lengths, samples):
    ends = np.cumsum([length for length, _ in lengths]) * 0.0071
    intervals = [(begin, end, phone) for begin, end, (_, phone) in zip([0.0, *ends], ends, lengths)]
    expected = []
    for t in range(samples // 160):
        middle = (160 * t + 80) / 16000  # where the shipped labels hold, too
        phone = [phone for begin, end, phone in intervals if begin <= middle < end]
        expected.append((phone[0] if phone else "") or "SIL")
    assert labels_of(intervals, samples) == expected


@pytest.mark.parametrize(
    "content, why",
    [
        ("", "no tier"),
        ("ooTextFile short", "no tier"),
        (textgrid([(0.0, 1.0, "T")]).replace("intervals [1]", "x").replace("text", "t"), "is empty"),
        (textgrid([(0.0, "one", "T")]), "not a number"),
        (textgrid([(0.5, 1.0, "T"), (0.0, 0.5, "T")]), "order"),
        (textgrid([(0.0, "nan", "T")]), "order"),
    ],
)
def test_malformed_textgrid_is_named(tmp_path, content, why):
    (tmp_path / "a.TextGrid").write_text(content)
    with pytest.raises(PhoneLabelError, match=f"a.TextGrid: .*{why}"):
        read_textgrid(tmp_path / "a.TextGrid")


@given(
    st.binary()
    | st.lists(st.sampled_from(['name = "phones"', "xmin = ", "xmax = ", "5 ", "\n", 'text = "', '"', "item [", "x"]))
    .map("".join)
    .map(str.encode)
)
@example(b"\xff\xfea")
@settings(max_examples=200, deadline=None)
def test_garbage_is_a_phone_label_error_or_intervals(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("t") / "a.TextGrid"
    path.write_bytes(content)
    try:
        assert labels_of(read_textgrid(path), 1600)
    except PhoneLabelError as error:
        assert str(path) in str(error)


def test_writes_label_files_for_the_manifests(tmp_path):
    grids = tmp_path / "alignments" / "84" / "7"
    grids.mkdir(parents=True)
    (grids / "84-7-0000.TextGrid").write_text(textgrid(PHONES))
    (grids / "84-7-0001.TextGrid").write_text("broken")
    for split in ("train", "dev"):
        write_manifest(tmp_path / f"{split}.tsv", "/r", [(f"84/7/84-7-000{n}.flac", 3200) for n in range(3)])
    report = "\n".join(write_phone_labels(tmp_path / "alignments", tmp_path, ["train", "dev"], jobs=1))
    labels = load_phone_labels(tmp_path / "phones", "dev")
    assert len(labels) == 1 and len(labels["84-7-0000"]) == 20
    assert "1 of 3 utterances" in report and "84-7-0001.TextGrid" in report
    assert [file.name for file in (tmp_path / "phones").iterdir() if file.name != "train.tsv"] == ["dev.tsv"]
    assert len(load_manifest(tmp_path, "train")) == 3  # training needs no labels
    dev = load_manifest(tmp_path, "dev")
    assert [dev.path(i) for i in range(len(dev))] == ["/r/84/7/84-7-0000.flac"]


def test_alignments_of_another_corpus(tmp_path):
    (tmp_path / "x.TextGrid").write_text(textgrid(PHONES))
    write_manifest(tmp_path / "dev.tsv", "/r", [("84-7-0000.flac", 3200)])
    with pytest.raises(PhoneLabelError, match="none of its 1 TextGrids"):
        write_phone_labels(tmp_path, tmp_path, ["dev"], jobs=1)
    with pytest.raises(PhoneLabelError, match="no such folder"):
        write_phone_labels(tmp_path / "none", tmp_path, ["dev"], jobs=1)


def test_files_of_one_name_have_the_alignments_of_their_folders(tmp_path):
    """Each `001` had the TextGrid that was found last, be it another person's."""
    names = ["anna/001.flac", "ben/001.flac", "cleo/001.flac", "002.flac"]
    write_manifest(tmp_path / "train.tsv", "/r", [(name, 800) for name in names])
    for name, phone in (("anna/001", "AA"), ("ben/001", "IY"), ("somewhere/002", "UW")):
        grid = tmp_path / "grids" / "mfa" / f"{name}.TextGrid"
        grid.parent.mkdir(parents=True, exist_ok=True)
        grid.write_text(textgrid([(0.0, 1.0, phone)]))
    (tmp_path / "grids" / "loop").symlink_to(tmp_path / "grids")
    write_phone_labels(tmp_path / "grids", tmp_path, ["train"], jobs=1)
    labels = load_phone_labels(tmp_path / "phones", "train")
    found = {name: labels.symbols[labels[name][0]] for name in labels.utterance_ids()}
    assert found == {"anna/001": "AA", "ben/001": "IY", "002": "UW"}
