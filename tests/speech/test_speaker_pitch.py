import collections
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.errors import SpeakerPitchError
from spin_fairseq.perturbation import Voice


def saved(folder, content, name="table"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def spk2info(floor=100, ceiling=400, train="19"):
    return {
        "train": {train: (np.eye(3, dtype=np.float32), (floor, ceiling, 200.5)), "1447": (None, (50, 300, None))},
        "valid": {"84": ([1, "x"], (np.float64(50), np.int64(250), {})), train: (0, (1, 2, 0))},
    }


def test_none_is_one_wide_range():
    pitch = load_speaker_pitch(None)
    assert pitch.range("anyone") is None and "anyone" in pitch


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_spk2info_of_any_protocol(tmp_path, protocol):
    pitch = load_speaker_pitch(saved(tmp_path, pickle.dumps(spk2info(), protocol=protocol), "spk2info.dict"))
    assert len(pitch) == 3 and "84" in pitch and "85" not in pitch
    assert pitch.range("19") == (100, 400)  # "train" goes before "valid"
    assert pitch.range("84") == (75, 250)  # the reference raises 50 to 75
    assert pitch.range("1447") == (60, 400)  # and corrects this speaker


@pytest.mark.parametrize("old, new", [(b"numpy._core", b"numpy.core"), (b"numpy.core", b"numpy._core")])
def test_spk2info_of_older_and_newer_numpy(tmp_path, old, new):
    content = pickle.dumps(spk2info(), protocol=0).replace(old, new)  # protocol 0 has no counts that would change
    assert new in content
    assert load_speaker_pitch(saved(tmp_path, content)).range("19") == (100, 400)


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Evaluate(Touch):
    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("attack, named", [(Touch, "system"), (Evaluate, "eval")])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, attack, named, protocol):
    info = spk2info()
    info["train"]["20"] = (attack(tmp_path / "owned"), (100, 400, 0))
    path = saved(tmp_path, pickle.dumps(info, protocol=protocol))
    with pytest.raises(SpeakerPitchError, match=rf"wants to call \w+\.{named}"):
        load_speaker_pitch(path)
    assert not (tmp_path / "owned").exists()
    pickle.loads(path.read_bytes())  # the attack is a real one
    assert (tmp_path / "owned").exists()


def test_encode_is_no_way_to_other_codecs(tmp_path):
    content = b"c_codecs\nencode\n(Vabc\nVrot13\ntR."
    with pytest.raises(SpeakerPitchError, match="rot13"):
        load_speaker_pitch(saved(tmp_path, content))


@pytest.mark.parametrize("value", [collections.Counter(), np.random.default_rng(0), print, ValueError("x")])
def test_other_classes_are_refused_by_name(tmp_path, value):
    with pytest.raises(SpeakerPitchError, match="wants to call"):
        load_speaker_pitch(saved(tmp_path, pickle.dumps({"train": {"1": (value, (100, 400, 0))}})))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        (1,),
        (1, 2),
        (1, (3,)),
        (1, ("a", "b", 0)),
        (1, (400, 100, 0)),
        (1, (0, 100, 0)),
        (1, (np.nan, 9, 0)),
        (1, (50, 60, 0)),
    ],
)
def test_spk2info_with_a_bad_entry_names_the_speaker(tmp_path, entry):
    with pytest.raises(SpeakerPitchError, match="speaker '7'"):
        load_speaker_pitch(saved(tmp_path, pickle.dumps({"train": {"7": entry}})))


@pytest.mark.parametrize("value", [{}, [], {"train": 5}, {"test": {}}, 7])
def test_another_pickle(tmp_path, value):
    with pytest.raises(SpeakerPitchError, match="spk2info"):
        load_speaker_pitch(saved(tmp_path, pickle.dumps(value)))


def test_librispeech_speakers(tmp_path):
    text = ";ID  |SEX| SUBSET           |MINUTES| NAME\n14   | F | train-clean-360  | 25.03 | Kristin LeMoine\n16 | M | train | 25 | A|B\n"
    pitch = load_speaker_pitch(saved(tmp_path, text, "SPEAKERS.TXT"))
    assert pitch.range("14") == (100, 400) and pitch.range("16") == (75, 250)


@pytest.mark.parametrize("header", ["", "speaker\tfloor\tceiling\tutterances\n"])
def test_own_table(tmp_path, header):
    pitch = load_speaker_pitch(saved(tmp_path, header + "anna\t90.5\t380\t12\nbob\t60\t200\t3\r\n\n", "p.tsv"))
    assert pitch.range("anna") == (90.5, 380) and pitch.range("bob") == (60, 200) and len(pitch) == 2


@pytest.mark.parametrize(
    "row",
    [
        "bob",
        "bob\t60",
        "bob\tlow\thigh",
        "bob\t300\t200",
        "bob\t-1\t5",
        "bob\tnan\t5",
        "bob\t60\tinf",
        "anna\t60\t80",
        "\t60\t80",
    ],
)
def test_malformed_row_of_a_table_is_named(tmp_path, row):
    with pytest.raises(SpeakerPitchError, match="table, line 2: "):
        load_speaker_pitch(saved(tmp_path, f"anna\t90\t380\n{row}\n"))


def test_voices_of_a_table(tmp_path):
    """Columns by the names of the header, in any order; nan is not known."""
    rows = "speaker\tfloor\tceiling\tvocal_tract\tnote\tmedian\tspread\nanna\t90\t380\t0.9\tx\t190.5\t0\nbob\t60\t200\tnan\tx\t9\t3\n"
    pitch = load_speaker_pitch(saved(tmp_path, rows))
    assert pitch.voices(["anna", "bob", "eve"]) == {"anna": Voice(190.5, 0.0, 0.9)}


@pytest.mark.parametrize("values", ["", "190", "190\tx\t1", "190\t3\t0", "-190\t3\t1", "190\t-1\t1", "inf\t3\t1"])
def test_a_voice_that_is_none_is_named(tmp_path, values):
    rows = f"speaker\tfloor\tceiling\tmedian\tspread\tvocal_tract\nanna\t90\t380\t{values}\n"
    with pytest.raises(SpeakerPitchError, match="table, line 2: median, spread, vocal_tract"):
        load_speaker_pitch(saved(tmp_path, rows))


@pytest.mark.parametrize(
    "content", ["anna\t90\t380\n", "14 | F | x\n", "speaker\tfloor\tceiling\tmedian\nanna\t90\t380\t1\n"]
)
def test_tables_without_voices(tmp_path, content):
    pitch = load_speaker_pitch(saved(tmp_path, content))
    with pytest.raises(SpeakerPitchError, match="table: has no columns median, spread, vocal_tract"):
        pitch.voices(["anna"])


def test_sex_that_is_not_known(tmp_path):
    with pytest.raises(SpeakerPitchError, match="line 2"):
        load_speaker_pitch(saved(tmp_path, "14 | F | x\n15 | - | x\n"))


def test_unknown_speaker(tmp_path):
    pitch = load_speaker_pitch(saved(tmp_path, "anna\t90\t380\n"))
    with pytest.raises(SpeakerPitchError, match=r"table: no speaker 'bob'.*add a row"):
        pitch.range("bob")


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(SpeakerPitchError, match="cannot be read"):
            load_speaker_pitch(path)


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.lists(
        st.sampled_from(
            [
                b"a",
                b"\t",
                b"\n",
                b"|",
                b"F",
                b"50",
                b"9",
                b"}",
                b"(",
                b"]",
                b".",
                b"\x80\x04",
                b"t",
                b"s",
                b"u",
                b"r",
                b"\xff",
                b"q",
            ]
        )
    ).map(b"".join)
    | st.tuples(st.integers(0, 300), st.binary(max_size=9)).map(
        lambda change: (lambda p: p[: change[0]] + change[1] + p[change[0] + len(change[1]) :])(
            pickle.dumps(spk2info())
        )
    )
)
@settings(max_examples=300, deadline=None)
def test_garbage_is_a_speaker_pitch_error_or_a_table(tmp_path_factory, content):
    path = saved(tmp_path_factory.mktemp("s"), content)
    try:
        pitch = load_speaker_pitch(path)
    except SpeakerPitchError as error:
        assert str(path) in str(error)
    else:
        assert len(pitch) > 0


def test_a_speaker_whose_name_begins_as_a_comment(tmp_path):
    """`#1-x.wav` was taken by every command but that of the pitch ranges."""
    table = tmp_path / "pitch.tsv"
    table.write_text("speaker\tfloor\tceiling\n# women and men\n#1\t80\t300\nanna\t90\t400\n")
    pitch = load_speaker_pitch(table)
    assert pitch.range("#1") == (80, 300) and len(pitch) == 2
