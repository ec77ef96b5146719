import os
import shutil

import pytest
import soundfile

from spin_fairseq.preparation import pitch_marks as pitch_mark_measuring
from spin_fairseq.speech.manifest import load_manifest, write_manifest
from spin_fairseq.speech.pitch_mark_cache import PitchMarkCache
from spin_fairseq.preparation.pitch_marks import measure_pitch_marks
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.errors import PitchMarkError, SpeakerPitchError

NO_TABLE = load_speaker_pitch(None)


@pytest.fixture
def train(speech_folder, tmp_path):
    """The training manifest over copies of its files."""
    shutil.copytree(speech_folder.data / "audio", tmp_path / "audio")
    shutil.copy(speech_folder.data / "train.tsv", tmp_path)
    lines = (tmp_path / "train.tsv").read_text().splitlines()
    (tmp_path / "train.tsv").write_text("\n".join(["audio", *lines[1:]]) + "\n")
    return load_manifest(tmp_path, "train")


@pytest.fixture
def measured_paths(monkeypatch):
    """Paths of what is measured, in a run with one worker."""
    paths, measure = [], pitch_mark_measuring._measure

    def noting(subject):
        paths.append(subject.path)
        return measure(subject)

    monkeypatch.setattr(pitch_mark_measuring, "_measure", noting)
    return paths


@pytest.mark.parametrize("chunks, largest", [(64, 500), (2, 500), (64, 1)])
def test_workers_and_chunks_make_no_difference(train, tmp_path, monkeypatch, chunks, largest):
    measure_pitch_marks(train, NO_TABLE, tmp_path / "one", workers=1)
    monkeypatch.setattr(pitch_mark_measuring, "CHUNKS", chunks)
    monkeypatch.setattr(pitch_mark_measuring, "LARGEST_CHUNK", largest)
    result = measure_pitch_marks(train, NO_TABLE, tmp_path / "many", workers=3)
    assert (result.utterances, result.kept, result.broken) == (12, 0, 0)
    assert result.samples == train.sizes.sum() and result.bytes == result.path.stat().st_size
    assert os.listdir(tmp_path / "many") == ["train.marks"]
    assert result.path.read_bytes() == (tmp_path / "one" / "train.marks").read_bytes()


def test_broken_files_are_named_and_left_out(train, tmp_path, capsys):
    os.unlink(train.path(1))
    with open(train.path(4), "r+b") as file:
        file.truncate(3000)
    soundfile.write(train.path(7), [0.0] * 400, 16000)  # shorter than the manifest says
    result = measure_pitch_marks(train, NO_TABLE, tmp_path, workers=1)
    assert (result.utterances, result.broken) == (9, 3) and "3 left out" in str(result)
    named = [line for line in capsys.readouterr().err.splitlines() if "left out: " in line]
    assert len(named) == 3 and all(train.path(i) in line for i, line in zip((1, 4, 7), named))
    cache = PitchMarkCache.open(tmp_path, "train")
    assert [i for i in range(12) if cache.lookup(train, i, None) is None] == [1, 4, 7]


def test_a_later_run_measures_what_is_new_or_changed_alone(train, tmp_path, measured_paths):
    some = train.select(range(8))
    measure_pitch_marks(some, NO_TABLE, tmp_path, workers=1)
    before = (tmp_path / "train.marks").stat().st_mtime_ns
    measure_pitch_marks(some, NO_TABLE, tmp_path, workers=1)
    assert len(measured_paths) == 8 and (tmp_path / "train.marks").stat().st_mtime_ns == before

    measured_paths.clear()
    wave, rate = soundfile.read(train.path(2))
    soundfile.write(train.path(2), wave * 0.3, rate)  # FLAC: of another size
    result = measure_pitch_marks(train, NO_TABLE, tmp_path, workers=1)
    assert measured_paths == [train.path(i) for i in (2, 8, 9, 10, 11)] and result.kept == 7
    measure_pitch_marks(train, NO_TABLE, tmp_path / "anew", workers=1)
    one, other = PitchMarkCache.open(tmp_path, "train"), PitchMarkCache.open(tmp_path / "anew", "train")
    for i in range(12):
        marks, anew = one.lookup(train, i, None), other.lookup(train, i, None)
        assert marks.times.equal(anew.times) and marks.joined.equal(anew.joined)


def test_another_pitch_range_is_measured_anew(train, tmp_path, measured_paths):
    measure_pitch_marks(train, NO_TABLE, tmp_path, workers=1)
    measured_paths.clear()
    (tmp_path / "a.tsv").write_text("19\t75\t200\n26\t80\t300\n84\t100\t400\n116\t120\t500\n")
    measure_pitch_marks(train, load_speaker_pitch(tmp_path / "a.tsv"), tmp_path, workers=1)
    assert len(measured_paths) == 12
    measured_paths.clear()
    (tmp_path / "b.tsv").write_text("19\t75\t200\n26\t80\t310\n84\t100\t400\n116\t120\t500\n")
    measure_pitch_marks(train, load_speaker_pitch(tmp_path / "b.tsv"), tmp_path, workers=1)
    assert measured_paths == [train.path(i) for i in range(12) if train.speaker(i) == "26"]


def test_damaged_marks_are_measured_anew(train, tmp_path, measured_paths):
    measure_pitch_marks(train, NO_TABLE, tmp_path, workers=1)
    good = (tmp_path / "train.marks").read_bytes()
    (tmp_path / "train.marks").write_bytes(good[:-3])
    measured_paths.clear()
    measure_pitch_marks(train, NO_TABLE, tmp_path, workers=1)
    assert len(measured_paths) == 12 and (tmp_path / "train.marks").read_bytes() == good
    (tmp_path / "train.marks").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))  # in the words of one
    measured_paths.clear()
    measure_pitch_marks(train, NO_TABLE, tmp_path, workers=1)
    assert len(measured_paths) == 1


def test_a_stopped_run_leaves_the_old_marks_and_goes_on(train, tmp_path, monkeypatch, measured_paths):
    measure = pitch_mark_measuring._measure

    def stopping(subject):
        if len(measured_paths) == 5:
            raise KeyboardInterrupt
        return measure(subject)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pitch_mark_measuring, "_measure", stopping)
        measure_pitch_marks(train, NO_TABLE, tmp_path, workers=1)
    assert not (tmp_path / "train.marks").exists()
    result = measure_pitch_marks(train, NO_TABLE, tmp_path, workers=1)
    assert measured_paths == [train.path(i) for i in range(12)] and result.kept == 5
    assert sorted(os.listdir(tmp_path)) == ["audio", "train.marks", "train.tsv"]


def test_a_path_that_is_there_twice(train, tmp_path):
    rows = [(os.path.relpath(train.path(i), train.root), train.sizes[i]) for i in (3, 5, 3)]
    write_manifest(tmp_path / "twice.tsv", "audio", rows)
    twice = load_manifest(tmp_path, "twice")
    assert measure_pitch_marks(twice, NO_TABLE, tmp_path, workers=1).utterances == 3
    cache = PitchMarkCache.open(tmp_path, "twice")
    assert all(cache.lookup(twice, i, None) is not None for i in range(3))


def test_a_file_without_voice_has_an_entry_without_marks(tmp_path):
    soundfile.write(tmp_path / "silence.wav", [0.0] * 16000, 16000)
    write_manifest(tmp_path / "train.tsv", tmp_path, [("silence.wav", 16000)])
    manifest = load_manifest(tmp_path, "train")
    measure_pitch_marks(manifest, NO_TABLE, tmp_path, workers=1)
    marks = PitchMarkCache.open(tmp_path, "train").lookup(manifest, 0, None)
    assert marks.times.shape == marks.joined.shape == (0,)


def test_nothing_measured_is_an_error_and_leaves_nothing(train, tmp_path):
    shutil.rmtree(tmp_path / "audio")
    with pytest.raises(PitchMarkError, match="train.tsv: none of its 12 utterances"):
        measure_pitch_marks(train, NO_TABLE, tmp_path / "marks", workers=1)
    assert os.listdir(tmp_path / "marks") == []


def test_a_missing_speaker_is_told_before_the_work(train, tmp_path, measured_paths):
    (tmp_path / "pitch.tsv").write_text("19\t75\t200\n26\t80\t300\n84\t100\t400\n")
    with pytest.raises(SpeakerPitchError, match="no speaker '116'"):
        measure_pitch_marks(train, load_speaker_pitch(tmp_path / "pitch.tsv"), tmp_path / "marks", workers=1)
    assert measured_paths == [] and not (tmp_path / "marks").exists()
