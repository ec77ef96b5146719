import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spin_fairseq.speech import phone_labels as phone_labels_module
from spin_fairseq.speech.phone_labels import load_phone_labels
from spin_fairseq.errors import PhoneLabelError

ids = st.text(st.characters(whitelist_categories=["L", "N"], whitelist_characters="-_"), min_size=1, max_size=8)
phones = st.sampled_from(["SIL", "AH0", "AH1", "AH", "ER2", "T", "ʃ", "12"])


def write(folder, content, split="dev"):
    (folder / f"{split}.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def spelled(labels, utterance_id):
    return [labels.symbols[i] for i in labels[utterance_id]]


def test_reads_labels_and_drops_stress(tmp_path):
    labels = load_phone_labels(write(tmp_path, "84-1-0\tSIL,AH0,AH1,ER2\n84-1-1\tT,SIL\r\n\n"), "dev")
    assert len(labels) == 2 and "84-1-0" in labels and "84" not in labels
    assert labels.symbols == ["AH", "ER", "SIL", "T"]
    assert spelled(labels, "84-1-0") == ["SIL", "AH", "AH", "ER"] and spelled(labels, "84-1-1") == ["T", "SIL"]
    assert labels["84-1-0"].dtype == np.int16 and labels.utterance_ids() == ["84-1-0", "84-1-1"]


def test_unknown_utterance(tmp_path):
    labels = load_phone_labels(write(tmp_path, "a\tT\n"), "dev")
    with pytest.raises(PhoneLabelError, match="dev.tsv: no labels for utterance 'b'"):
        labels["b"]


@given(st.dictionaries(ids, st.lists(phones, min_size=1, max_size=20), min_size=1, max_size=10))
@settings(max_examples=60, deadline=None)
def test_round_trip(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("p")
    write(folder, "".join(f"{i}\t{','.join(labels)}\n" for i, labels in table.items()))
    labels = load_phone_labels(folder, "dev")
    without_stress = {"AH0": "AH", "AH1": "AH", "ER2": "ER"}
    for utterance_id, row in table.items():
        assert spelled(labels, utterance_id) == [without_stress.get(phone, phone) for phone in row]


@given(
    st.lists(st.sampled_from([b"a", b"b", b"\t", b"\n", b"\r", b",", b"AH0", b" ", b"\xff", b"a\tT\n"])).map(b"".join)
    | st.binary()
)
@example(b"")
@example(b"\n")
@settings(max_examples=200, deadline=None)
def test_garbage_is_a_phone_label_error_or_labels(tmp_path_factory, content):
    folder = write(tmp_path_factory.mktemp("p"), content)
    try:
        labels = load_phone_labels(folder, "dev")
    except PhoneLabelError as error:
        assert str(folder / "dev.tsv") in str(error)
    else:
        assert all(len(labels[utterance_id]) for utterance_id in labels.utterance_ids())


@pytest.mark.parametrize("row", ["b", "b\t", "\tT", "b\tT\tT", "b\tT,,T", "b\tT,", "b\tT, SIL", "a\tT"])
def test_malformed_row_is_named(tmp_path, row):
    with pytest.raises(PhoneLabelError, match="dev.tsv, line 2: "):
        load_phone_labels(write(tmp_path, f"a\tT\n{row}\n"), "dev")


def test_missing_file(tmp_path):
    with pytest.raises(PhoneLabelError, match="dev.tsv: no such file"):
        load_phone_labels(tmp_path, "dev")


def test_a_manifest_is_not_labels(tmp_path):
    with pytest.raises(PhoneLabelError, match="line 1: .*manifest"):
        load_phone_labels(write(tmp_path, "/speech\na/b.flac\t16000\n"), "dev")


def test_words_are_not_phones(tmp_path, monkeypatch):
    monkeypatch.setattr(phone_labels_module, "MOST_SYMBOLS", 3)
    with pytest.raises(PhoneLabelError, match="more than 3 different labels"):
        load_phone_labels(write(tmp_path, "a\tthe,cat,sat,down\n"), "dev")
