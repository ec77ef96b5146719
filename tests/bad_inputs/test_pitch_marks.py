"""Files of cached pitch marks that are damaged or something else: refused, wherever the damage is."""

import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.speech.pitch_mark_cache import ENTRY, KEY, PitchMarkCache, encode, entry_of, subject_of, write_marks
from spin_fairseq.errors import PitchMarkError
from spin_fairseq.perturbation.pitch_marks import PitchMarks
from tests.bad_inputs.judging import may_refuse, must_refuse

KIND = "pitch marks"
RANGE = (75.0, 300.0)


@pytest.fixture(scope="module")
def manifest(speech_folder):
    return load_manifest(speech_folder.data, "dev")


@pytest.fixture(scope="module")
def whole(manifest, tmp_path_factory):
    """The bytes of a good file."""
    path = tmp_path_factory.mktemp("marks") / "dev.marks"
    subjects = [subject_of(manifest, index, RANGE) for index in range(len(manifest))]
    times = torch.arange(100, 10_000, 160, dtype=torch.float64)
    words = [encode(PitchMarks(times + index, times > 500)) for index in range(len(manifest))]
    starts = np.cumsum([0, *map(len, words)])
    entries = [entry_of(subject, each, start) for subject, each, start in zip(subjects, words, starts)]
    write_marks(path, np.array([s.key for s in subjects], KEY), np.array(entries, ENTRY), words)
    return path.read_bytes()


def use(path, manifest):
    """Open it, and look everybody up, as an epoch does."""
    cache = PitchMarkCache(path)
    return [cache.lookup(manifest, index, RANGE) for index in range(len(manifest))]


def test_the_whole_one_is_good(tmp_path, whole, manifest):
    (tmp_path / "dev.marks").write_bytes(whole)
    assert all(marks is not None for marks in use(tmp_path / "dev.marks", manifest))


def test_what_is_no_file_of_marks(tmp_path, manifest):
    path = tmp_path / "dev.marks"
    for content in (
        b"",
        b"SPINMARK",
        b"SPINMARK" + bytes(56),
        bytes(64),
        b"\xff" * 64,
        b"text\n" * 30,
        b"PK\x03\x04" * 50,
    ):
        path.write_bytes(content)
        must_refuse(KIND, lambda: use(path, manifest), PitchMarkError, path, folder=tmp_path)
    (tmp_path / "folder.marks").mkdir()
    os.mkfifo(tmp_path / "pipe.marks")
    for split in ("gone", "folder", "pipe", "x" * 300):
        must_refuse(KIND, lambda: PitchMarkCache.open(tmp_path, split), PitchMarkError, tmp_path)  # noqa: B023


def test_cut_off_or_with_more_behind(tmp_path, whole, manifest):
    path = tmp_path / "dev.marks"
    for length in sorted({1, 7, 8, 20, 63, 64, 65, *range(100, len(whole), len(whole) // 12), len(whole) - 1}):
        path.write_bytes(whole[:length])
        must_refuse(KIND, lambda: use(path, manifest), PitchMarkError, path, folder=tmp_path)
    for more in (b"\0", b"12345678", whole):
        path.write_bytes(whole + more)
        must_refuse(KIND, lambda: use(path, manifest), PitchMarkError, path, folder=tmp_path)


@settings(deadline=None, max_examples=80, derandomize=True, report_multiple_bugs=False)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_changed_bit(whole, manifest, tmp_path_factory, place, bit):
    """It is noticed, unless it makes the file one of another version, whose marks are measured anew."""
    path = tmp_path_factory.getbasetemp() / "dev.marks"
    place = int(place * len(whole))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
    marks = may_refuse(KIND, lambda: use(path, manifest), PitchMarkError, path)
    assert marks is None or 36 <= place < 64  # the header's padding
