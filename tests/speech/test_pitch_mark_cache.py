import os
import pickle
import shutil

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.speech import pitch_mark_cache
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.manifest import load_manifest, write_manifest
from spin_fairseq.speech.pitch_mark_cache import PitchMarkCache, decode, encode
from spin_fairseq.preparation.pitch_marks import measure_pitch_marks
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.errors import PitchMarkError
from spin_fairseq.perturbation import PitchMarks, find_pitch_marks

NO_TABLE = load_speaker_pitch(None)


def same(one, other):
    return (
        one.times.dtype == other.times.dtype == torch.float64
        and one.joined.dtype == other.joined.dtype == torch.bool
        and one.times.equal(other.times)
        and one.joined.equal(other.joined)
    )


def measured(manifest, index, pitch_range):
    floor, ceiling = pitch_range or (None, None)
    marks = find_pitch_marks(read_audio(manifest.path(index)), 16000, pitch_floor=floor, pitch_ceiling=ceiling)
    return PitchMarks(*(part[marks.times < torch.inf] for part in marks))


@pytest.fixture(scope="module")
def dev(speech_folder):
    return load_manifest(speech_folder.data, "dev")


@pytest.fixture(scope="module")
def marks_folder(dev, tmp_path_factory):
    """dev.marks without a table of pitch ranges; not to be changed."""
    folder = tmp_path_factory.mktemp("marks")
    measure_pitch_marks(dev, NO_TABLE, folder, workers=1)
    return folder


# --- words ------------------------------------------------------------------------------------------------------

GAPS = st.one_of(st.integers(0, 3000), st.sampled_from([32766, 32767, 32768, 65533, 65534, 65535, 98301, 10_000_000]))


@given(st.lists(st.tuples(GAPS, st.booleans()), max_size=60))
@settings(deadline=None)
def test_words_give_back_the_very_marks(steps):
    ticks = np.cumsum([gap for gap, _ in steps], dtype=np.int64)
    marks = PitchMarks(torch.from_numpy(ticks / 16), torch.tensor([joined for _, joined in steps], dtype=torch.bool))
    words = encode(marks)
    assert words.dtype == np.uint16 and same(decode(words), marks)
    assert len(words) == len(steps) + sum(gap // 32767 for gap, _ in steps)


@pytest.mark.parametrize("times", [[1.0, 0.5], [0.03], [-1.0], [-torch.inf], [torch.nan]])
def test_what_are_no_marks_is_not_encoded(times):
    with pytest.raises(ValueError, match="1/16 sample"):
        encode(PitchMarks(torch.tensor(times, dtype=torch.float64), torch.zeros(len(times), dtype=torch.bool)))


def test_the_padding_of_a_batch_is_left_out():
    times = torch.tensor([10.5, 20.0, torch.inf, torch.inf], dtype=torch.float64)
    marks = PitchMarks(times, torch.tensor([True, False, False, False]))
    assert same(decode(encode(marks)), PitchMarks(marks.times[:2], marks.joined[:2]))


def save_voice(path, f0, seconds=10.0):
    """A steady voice without a pause."""
    phase = np.arange(int(seconds * 16000)) * f0 / 16000
    soundfile.write(path, sum(np.cos(2 * np.pi * k * phase) / k for k in range(1, 6)) * 0.2, 16000)


def test_a_second_of_a_high_voice_without_a_pause_is_1500_bytes_at_most(tmp_path):
    save_voice(tmp_path / "high.wav", 590)
    write_manifest(tmp_path / "train.tsv", tmp_path, [("high.wav", 160000)])
    (tmp_path / "pitch.tsv").write_text("high\t300\t600\n")
    manifest, pitch = load_manifest(tmp_path, "train"), load_speaker_pitch(tmp_path / "pitch.tsv")
    measure_pitch_marks(manifest, pitch, tmp_path, workers=1)
    marks = PitchMarkCache.open(tmp_path, "train").lookup(manifest, 0, pitch.range("high"))
    assert 5700 < len(marks.times) < 6000  # all of it is voiced
    assert (tmp_path / "train.marks").stat().st_size <= 1500 * 10


# --- lookup -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [False, True])
def test_marks_are_those_of_the_analysis(dev, marks_folder, tmp_path, table):
    pitch, folder = NO_TABLE, marks_folder
    if table:
        (tmp_path / "pitch.tsv").write_text("19\t75.25\t200\n26\t80\t300\n84\t100.1\t400\n116\t120\t500\n")
        pitch, folder = load_speaker_pitch(tmp_path / "pitch.tsv"), tmp_path
        measure_pitch_marks(dev, pitch, folder, workers=1)
    cache = PitchMarkCache.open(folder, "dev")
    for i in range(len(dev)):
        pitch_range = pitch.range(dev.speaker(i))
        marks = cache.lookup(dev, i, pitch_range)
        assert len(marks.times) > 20 and same(marks, measured(dev, i, pitch_range))
    assert cache.counts == {pitch_mark_cache.FOUND: len(dev)}
    assert cache.summary() == f"{folder / 'dev.marks'}: pitch marks of 6 of 6 utterances"


def test_another_order_a_subset_and_another_root(dev, marks_folder, tmp_path):
    cache = PitchMarkCache.open(marks_folder, "dev")
    order = [4, 0, 2]
    for i, row in enumerate(order):
        assert same(cache.lookup(dev.select(order), i, None), cache.lookup(dev, row, None))
    (tmp_path / "moved").symlink_to(dev.root)
    rows = [(os.path.relpath(dev.path(i), dev.root), dev.sizes[i]) for i in (5, 1)]
    write_manifest(tmp_path / "some.tsv", "moved", rows)
    moved = load_manifest(tmp_path, "some")
    assert same(cache.lookup(moved, 0, None), cache.lookup(dev, 5, None))
    assert same(cache.lookup(moved, 1, None), cache.lookup(dev, 1, None))


def test_stale_and_missing_entries_are_none_and_counted(dev, marks_folder, tmp_path):
    shutil.copytree(dev.root, tmp_path / "audio")
    names = [os.path.relpath(dev.path(i), dev.root) for i in range(3)]
    with open(tmp_path / "audio" / names[2], "ab") as file:
        file.write(b"\0")
    rows = [(names[0], dev.sizes[0]), (names[1], dev.sizes[1] - 1), (names[2], dev.sizes[2]), ("new.wav", 16000)]
    write_manifest(tmp_path / "dev.tsv", "audio", rows)
    cache, manifest = PitchMarkCache.open(marks_folder, "dev"), load_manifest(tmp_path, "dev")
    assert cache.lookup(manifest, 0, None) is not None
    assert [cache.lookup(manifest, i, None) for i in (1, 2, 3)] == [None] * 3
    assert cache.lookup(manifest, 0, (75.0, 400.0)) is None
    assert cache.summary().endswith(
        "pitch marks of 1 of 5 utterances; 4 are measured on the fly "
        "(1 for another pitch range, 1 of a changed file, 1 of another length, 1 of unknown files)"
    )
    survey = cache.survey(manifest, NO_TABLE.range)
    assert survey == {"found": 2, "of another length": 1, "of unknown files": 1}  # no audio file is looked at
    assert cache.summary(survey).endswith("(1 of another length, 1 of unknown files)")
    assert sum(cache.counts.values()) == 5  # of the lookups


def test_of_a_large_split_some_are_surveyed(dev, marks_folder, monkeypatch):
    monkeypatch.setattr(pitch_mark_cache, "SURVEYED", 4)
    assert PitchMarkCache.open(marks_folder, "dev").survey(dev, NO_TABLE.range) == {"found": 4}


def test_marks_of_another_version_of_the_analysis_are_not_used(dev, marks_folder, monkeypatch):
    monkeypatch.setattr(pitch_mark_cache, "ANALYSIS_VERSION", pitch_mark_cache.ANALYSIS_VERSION + 1)
    cache = PitchMarkCache.open(marks_folder, "dev")
    assert cache.lookup(dev, 0, None) is None
    assert "1 of another version of the analysis" in cache.summary()


def test_a_pickled_cache_opens_the_file_again(dev, marks_folder):
    cache = PitchMarkCache.open(marks_folder, "dev")
    content = pickle.dumps(cache)
    assert len(content) < 500  # not the marks
    assert same(pickle.loads(content).lookup(dev, 3, None), cache.lookup(dev, 3, None))


# --- files that are no such, cut off, or damaged ----------------------------------------------------------------


def test_missing_and_foreign_files_are_named_with_the_remedy(tmp_path):
    with pytest.raises(PitchMarkError, match=r"dev.marks: no such file; make it with spin-fairseq marks"):
        PitchMarkCache.open(tmp_path, "dev")
    for content, complaint in (
        (b"", "cannot be read"),
        (b"RIFF" * 40, "is not a file of pitch marks"),
        (b"S", "is not"),
    ):
        (tmp_path / "dev.marks").write_bytes(content)
        with pytest.raises(PitchMarkError, match=f"dev.marks: {complaint}.*make it anew"):
            PitchMarkCache.open(tmp_path, "dev")
    (tmp_path / "dev.marks").unlink()
    (tmp_path / "dev.marks").mkdir()
    with pytest.raises(PitchMarkError, match="cannot be read"):
        PitchMarkCache.open(tmp_path, "dev")


def test_another_form_of_the_file(marks_folder, tmp_path):
    content = bytearray((marks_folder / "dev.marks").read_bytes())
    content[8] = 2
    (tmp_path / "dev.marks").write_bytes(content)
    with pytest.raises(PitchMarkError, match="form 2 instead of 1"):
        PitchMarkCache.open(tmp_path, "dev")


@pytest.mark.parametrize("size", [8, 63, 64, 200, -2, -1, 1])
def test_a_file_cut_off_or_with_more_behind(marks_folder, tmp_path, size):
    content = (marks_folder / "dev.marks").read_bytes()
    (tmp_path / "dev.marks").write_bytes(content + b"\0" if size == 1 else content[:size])
    with pytest.raises(PitchMarkError, match="dev.marks: is .*make it anew"):
        PitchMarkCache.open(tmp_path, "dev")


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_one_changed_byte_is_noticed(dev, marks_folder, tmp_path_factory, data):
    content = bytearray((marks_folder / "dev.marks").read_bytes())
    place = data.draw(st.one_of(st.integers(0, 35), st.integers(64, len(content) - 1)))  # between them is nothing
    content[place] ^= data.draw(st.integers(1, 255))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "dev.marks").write_bytes(content)
    with pytest.raises(PitchMarkError, match="dev.marks"):
        cache = PitchMarkCache.open(folder, "dev")
        for i in range(len(dev)):
            cache.lookup(dev, i, None)
