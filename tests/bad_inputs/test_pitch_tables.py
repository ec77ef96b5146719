"""Tables of speakers' pitch ranges that are none, and pickles that want more: refused by line or speaker, nothing run."""

import os
import pickle
import pickletools
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.errors import SpeakerPitchError
from tests.bad_inputs.judging import may_refuse, must_refuse

KIND = "pitch table"
ROWS = [  # of a .tsv, each the third of its file
    "26", "26\t", "26\t75", "26\t75\t", "26\t\t250", "\t75\t250", "26\tlow\thigh", "26\t75\thigh", "26\tlow\t250",
    "26\t250\t75", "26\t75\t75", "26\t0\t250", "26\t-75\t250", "26\tnan\t250", "26\t75\tnan", "26\t75\tinf", "26\tinf\tinf",
    "26\t-inf\t250", "26\t75 Hz\t250 Hz", "26\t75,0\t250,0", "19\t75\t250", "26 75 250", "26,75,250", "26|75|250",
    "26\t1e400\t250", "26\t0x4b\t250", "x" * 50_000, "26\tNone\tNone",
]  # fmt: skip
SPEAKERS = [  # of a SPEAKERS.TXT
    "26", "26 |", "26 | X | train", "26 | f | train", "26 | female", "| F | train", " | ", "26 | | train", "26; F", "26 F",
    "26 | MF |", "\0 | \0 |",
]  # fmt: skip
FILES = [
    b"", b"\n\n", b"; comments alone\n", b"speaker\tfloor\tceiling\n", b"hello", b"\xff\xfe1\0", bytes(50), b"[]", b"{}",
    b"19 75 250\n", b"PK\x03\x04\x14\0", b"\x80\x04", b"\x80\x04.", b"\x80\xff.", b"(", b".", b"\x80\x04N.", b"\x80\x05}.",
]  # fmt: skip
OBJECTS = [  # of a pickle
    {}, [], None, 5, "text", {"train": None}, {"train": []}, {"train": {}}, {"valid": {}, "train": {}}, {"other": {"19": 5}},
    {"train": {"19": None}}, {"train": {"19": 5}}, {"train": {"19": ()}}, {"train": {"19": (0,)}}, {"train": {"19": (0, 5)}},
    {"train": {"19": (0, ())}}, {"train": {"19": (0, (75,))}}, {"train": {"19": (0, (None, 250))}},
    {"train": {"19": (0, ("low", 250))}}, {"train": {"19": (0, (250, 75, 0))}}, {"train": {"19": (0, (75, float("nan")))}},
    {"train": {"19": (0, (float("-inf"), 250))}}, {"train": {"19": (0, (75, 10**400))}}, {"train": {"19": {1: {0: 75}}}},
    {"train": {"19": (0, ([75], [250]))}}, {"train": {"19": (0, (75, 1e999))}}, {"train": {"19": (0, (0, 250))}},
    {"train": {"19": (0, (75j, 250))}}, {"train": {"19": (0, np.zeros((2, 2)))}}, {"train": {"19": (0, b"ab")}},
    {"train": {"19": "ab"}}, {"train": {"19": (0, (np.float64("nan"), 250))}}, {"train": {"19": (0, np.array([250.0, 75.0]))}},
    {"train": {"19": (0, (75, 250)), "26": (0, (75, 50))}}, {"valid": {"19": (0, (75, 250))}, "train": {"26": 1}},
]  # fmt: skip
WHOLE = pickle.dumps({"train": {"19": (1, (np.float64(75), 250.0, 3)), "26": (1, (100.0, np.float32(400), 3))}}, 4)


class Calls:
    """A pickle that calls a function as it is read."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def calls(canary):
    """What would leave a file, or take the machine's time or memory."""
    write = f"open({str(canary)!r}, 'w')"
    return [
        (os.system, f"touch {canary}"), (eval, write), (exec, write), (open, str(canary), "w"), (os.mkdir, str(canary)),
        (subprocess.call, ["touch", str(canary)]), (__import__, "antigravity"), (getattr, "x", "upper"), (bytearray, 10**12),
        (print, "x"), (input,), (np.zeros, 10**11), (os._exit, 3), (pickle.loads, b"."), (range, 10**12), (list, range(9)),
        (np.ndarray, (10**6, 10**6)), (np.frombuffer, b"12345678"), (__import__("time").sleep, 100),
        (object,), (type, "X", (), {}), (compile, write, "x", "exec"), (os.kill, os.getpid(), 9),
    ]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_rows(tmp_path, row):
    source = tmp_path / "pitch.tsv"
    source.write_text("speaker\tfloor\tceiling\n19\t75\t250\n" + row + "\n")
    must_refuse(KIND, lambda: load_speaker_pitch(source), SpeakerPitchError, source, "line 3", folder=tmp_path)


@pytest.mark.parametrize("row", SPEAKERS, ids=range(len(SPEAKERS)))
def test_rows_of_speakers_txt(tmp_path, row):
    source = tmp_path / "SPEAKERS.TXT"
    source.write_text(";ID |SEX| SUBSET\n19  | F | train-clean-100 |\n" + row + "\n")
    must_refuse(KIND, lambda: load_speaker_pitch(source), SpeakerPitchError, source, "line 3", folder=tmp_path)


@pytest.mark.parametrize("content", FILES, ids=range(len(FILES)))
def test_files(tmp_path, content):
    (tmp_path / "pitch").write_bytes(content)
    must_refuse(KIND, lambda: load_speaker_pitch(tmp_path / "pitch"), SpeakerPitchError, tmp_path, folder=tmp_path)


@pytest.mark.parametrize("content", OBJECTS, ids=range(len(OBJECTS)))
def test_pickles(tmp_path, content):
    source = tmp_path / "spk2info.dict"
    source.write_bytes(pickle.dumps(content))
    must_refuse(KIND, lambda: load_speaker_pitch(source), SpeakerPitchError, source, folder=tmp_path)


def test_pickles_that_are_cut_off(tmp_path):
    source = tmp_path / "spk2info.dict"
    source.write_bytes(WHOLE)
    assert len(load_speaker_pitch(source)) == 2
    for length in range(1, len(WHOLE), max(1, len(WHOLE) // 40)):
        source.write_bytes(WHOLE[:length])
        must_refuse(KIND, lambda: load_speaker_pitch(source), SpeakerPitchError, source, folder=tmp_path)


def test_pickles_that_want_more(tmp_path):
    source, canary = tmp_path / "spk2info.dict", tmp_path / "canary"
    for call in calls(canary):
        for protocol in (2, 4):
            source.write_bytes(pickle.dumps({"train": {"19": (Calls(*call), (75.0, 250.0, 0))}}, protocol))
            must_refuse(KIND, lambda: load_speaker_pitch(source), SpeakerPitchError, source, folder=tmp_path)
            assert not canary.exists()


def test_pickles_of_forged_operations(tmp_path):
    """Written by hand: no pickler makes these."""
    source = tmp_path / "spk2info.dict"
    deep = b"(" * 50_000 + b"t" * 50_000 + b"."
    for content in [
        deep, b"]" * 50_000 + b"a" * 49_999 + b".", b"\x80\x04q\xff.", b"\x80\x04r\xff\xff\xff\xff.", b"\x80\x04h\x05.",
        b"\x80\x04\x8c\xffabc.", b"\x80\x04X\xff\xff\xff\x7fabc.", b"\x80\x04B\xff\xff\xff\x7f.", b"\x80\x04\x8d" + b"\xff" * 8,
        b"\x80\x04\x95" + b"\xff" * 8 + b".", b"\x80\x04cos\nsystem\n(S'true'\ntR.", b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"cbuiltins\neval\n(S'1'\ntR.", b"ios\nsystem\n.", b"I" + b"9" * 10_000 + b"\n.", b"\x8a\xff" + b"9" * 255 + b".",
        b"\x8b\xff\xff\xff\x7f.", b"P1\n.", b"\x80\x04\x82\x01.", b"}]s.", b"0.", b"2.", b"R.", b"b.", b"\x81.", b"\x92.",
    ]:  # fmt: skip
        source.write_bytes(content)
        must_refuse(KIND, lambda: load_speaker_pitch(source), SpeakerPitchError, source, folder=tmp_path)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "around").symlink_to("around")
    for name in ("gone", "pipe", "folder", "around", "x" * 300, "a\0b"):
        must_refuse(KIND, lambda: load_speaker_pitch(tmp_path / name), SpeakerPitchError, tmp_path)  # noqa: B023


def test_a_speaker_who_is_not_there(tmp_path):
    (tmp_path / "pitch.tsv").write_text("19\t75\t250\n")
    table = load_speaker_pitch(tmp_path / "pitch.tsv")
    must_refuse(KIND, lambda: table.range("26"), SpeakerPitchError, "26", tmp_path / "pitch.tsv")


@settings(deadline=None, max_examples=80, derandomize=True, report_multiple_bugs=False)
@given(place=st.integers(0, len(WHOLE) - 1), changed=st.binary(min_size=1, max_size=3))
def test_changed_bytes(tmp_path_factory, place, changed):
    source = tmp_path_factory.getbasetemp() / "spk2info.dict"
    source.write_bytes(WHOLE[:place] + changed + WHOLE[place + len(changed) :])
    table = may_refuse(KIND, lambda: load_speaker_pitch(source), SpeakerPitchError, source)
    assert table is None or len(table) > 0


def test_the_pickle_that_is_changed_has_many_places():
    assert len(list(pickletools.genops(WHOLE))) > 30
