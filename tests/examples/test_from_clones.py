"""examples/real_speech/from_clones.py: clones of public repositories become a folder for compare.py."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spin_fairseq.evaluation.corpus import load_corpus

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "real_speech" / "from_clones.py"
REAL_SPEECH = os.environ.get("SPIN_REAL_SPEECH")


@pytest.fixture(scope="module")
def from_clones():
    spec = importlib.util.spec_from_file_location("from_clones", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flac(path, samples=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, samples), 16000)


def test_speakers_and_labels_find_their_audio(from_clones, tmp_path, capsys):
    """Guards against speakers of the wrong split, and against utterances of dev that have no labels."""
    first, second, out = tmp_path / "first", tmp_path / "second", tmp_path / "speech"
    flac(first / from_clones.TRAIN / "1034-121119-0000.flac")
    flac(first / from_clones.DEV / "1688" / "1688-142285-0000.flac")
    flac(first / from_clones.DEV / "1998" / "1998-15444-0001.flac")  # has no labels
    flac(second / from_clones.SAMPLES / "19" / "198" / "19-198-0003.flac")
    arguments = ["--resemblyzer", first, "--deep-speaker", second, "--out", out]
    for _ in range(2):
        from_clones.main([str(argument) for argument in arguments])
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*.flac"))
    assert found == ["dev/1688/142285/1688-142285-0000.flac", "train/1034/121119/1034-121119-0000.flac",
                     "train/19/198/19-198-0003.flac"]  # fmt: skip
    assert "train: 2 utterances of 2 speakers" in capsys.readouterr().out
    corpus = load_corpus([out / "dev"], [out / "phones" / "dev.tsv"])
    assert corpus.speakers == ("1688",) and corpus.labelled == [0]
    with pytest.raises(SystemExit, match="no FLAC files there; --resemblyzer wants a whole clone"):
        from_clones.main(["--resemblyzer", str(second), "--out", str(tmp_path / "other")])


def test_labelled_speakers_have_a_sex(from_clones):
    """Guards against pitch ranges that are those of other speakers, or of none."""
    listed = {
        row.split("|")[0].strip(): row.split("|")[1].strip()
        for row in from_clones.SPEAKERS.read_text().splitlines()[1:]
    }
    speakers = {row.split("-")[0] for row in from_clones.PHONES.read_text().splitlines()}
    assert len(speakers) == 6 and speakers <= set(listed) and set(listed.values()) == {"F", "M"}


@pytest.mark.skipif(not REAL_SPEECH, reason="SPIN_REAL_SPEECH names no folder of real speech shaped like LibriSpeech")
def test_labels_are_those_of_the_real_recordings(from_clones):
    """Guards against labels that are shorter or longer than the recordings."""
    corpus = load_corpus([Path(REAL_SPEECH) / "dev"], [from_clones.PHONES])
    assert len(corpus.labelled) == 57
    assert all(len(corpus.phones[i]) == corpus.sizes[i] // 160 for i in corpus.labelled)
