"""Voices of other speakers: in workers and on the device, and where some are not known."""

import numpy as np
import pytest

from spin_fairseq.data.device_views import complete_views
from spin_fairseq.data.voices import CorpusVoices, UniformVoices
from spin_fairseq.errors import ConfigError, SpeakerPitchError
from spin_fairseq.perturbation import build_backend, draw_speaker
from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from tests.small_dataset import make_dataset

HEADER = "speaker\tfloor\tceiling\tmedian\tvoiced_seconds\tfiles\tspread\tvocal_tract\n"
KNOWN = {
    "19": "80\t250\t110\t9\t3\t2.5\t1.12", "26": "100\t300\t150\t9\t3\t3.0\t1.02",
    "84": "120\t390\t200\t9\t3\t3.2\t0.93", "116": "150\t480\t240\t9\t3\t4.0\t0.86",
}  # fmt: skip


@pytest.fixture
def voices_of(speech_folder, tmp_path):
    """-> CorpusVoices of a split, by a table with these rows."""

    def make(rows=KNOWN, split="train", strength=1.0, **options):
        table = tmp_path / "pitch.tsv"
        table.write_text(HEADER + "".join(f"{speaker}\t{row}\n" for speaker, row in rows.items()))
        manifest = load_manifest(speech_folder.data, split)
        return CorpusVoices(manifest, load_speaker_pitch(table), strength, **options)

    return make


def test_draws_go_to_the_speakers_of_the_split(voices_of):
    """Guards against voices of speakers that only the table has, such as those of dev."""
    rows = {**KNOWN, "stranger": "150\t480\t500\t9\t3\t4.0\t0.7"}
    voices = voices_of(rows)
    found = {round(voices.draw(np.random.default_rng(n), "19").pitch_ratio * 110) for n in range(100)}
    assert found == {150, 200, 220}  # 240 is beyond the largest ratio


def test_the_same_views_in_workers_and_on_the_device_and_again(speech_folder, voices_of):
    options = {"backend": build_backend("native"), "both_views": True}
    make = [make_dataset(speech_folder.data, voices=voices_of(), on_device=place, **options) for place in (False, True)]
    expected, pending = (dataset.collater([dataset[index] for index in range(4)]) for dataset in make)
    difference = complete_views(pending, 16000)["net_input"]["source"] - expected["net_input"]["source"]
    assert difference.abs().max() < 1e-4
    uniform = make_dataset(speech_folder.data, **options)
    assert not np.allclose(make[0][0]["views"][1], uniform[0]["views"][1])
    assert np.array_equal(make[0][0]["views"][1], make[0][0]["views"][1])


def test_a_speaker_whose_voice_is_not_known_is_changed_uniformly(voices_of):
    voices = voices_of({**KNOWN, "19": "80\t250\tnan\t0\t3\tnan\tnan"}, strength=0.5)
    draws = [drawn.draw(np.random.default_rng(1), "19") for drawn in (voices, UniformVoices(0.5))]
    assert all(np.array_equal(a, b) for a, b in zip(*draws))
    assert draws[0].pitch_ratio == draw_speaker(np.random.default_rng(1), 0.5).pitch_ratio
    others = {round(voices.draw(np.random.default_rng(n), "26").pitch_ratio ** 2 * 150) for n in range(50)}
    assert others == {200, 240}


def test_a_split_without_two_voices(voices_of):
    one = {speaker: row.replace(row, "80\t250\tnan\t0\t3\tnan\tnan") for speaker, row in KNOWN.items()}
    with pytest.raises(ConfigError, match="pitch.tsv knows the voices of 0 of the 4 speakers of .*voice_draw=uniform"):
        voices_of(one)
    drawn = voices_of({**one, "19": KNOWN["19"]}, train=False).draw(np.random.default_rng(1), "19")
    assert drawn.pitch_ratio == draw_speaker(np.random.default_rng(1)).pitch_ratio


def test_a_table_without_voices_is_named_with_the_remedy(speech_folder, tmp_path):
    """Guards against tables of earlier versions, which have a median and no vocal tract, being taken for whole."""
    table = tmp_path / "old.tsv"
    table.write_text("speaker\tfloor\tceiling\tmedian\tvoiced_seconds\tfiles\n19\t80\t250\t110\t9\t3\n")
    pitch = load_speaker_pitch(table)
    assert pitch.range("19") == (80, 250)
    with pytest.raises(
        SpeakerPitchError, match="old.tsv: has no columns median, spread, vocal_tract.*spin-fairseq pitch"
    ):
        CorpusVoices(load_manifest(speech_folder.data, "train"), pitch)
