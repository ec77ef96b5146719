"""A speaker who is turned into another one is measured like that other one, by the command that measured both."""

import numpy as np
import pytest
import soundfile

from spin_fairseq.perturbation import change_speaker, draw_speaker_of
from spin_fairseq.preparation.speaker_pitch import estimate_speaker_pitch, write_speaker_pitch
from spin_fairseq.speech.audio import SAMPLE_RATE, audio_info, read_audio
from spin_fairseq.speech.manifest import manifest_at, write_manifest
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from tests.preparation.test_vocal_tract import NATURAL

SPEAKERS = ("4101", "4107")  # a woman and a man, whose pitch moves less and more


def voices_of(folder, root, paths):
    """paths: below root, named by their speaker."""
    write_manifest(folder / "some.tsv", root, [(str(path), audio_info(root / path)[0]) for path in paths])
    ranges, _ = estimate_speaker_pitch([manifest_at(folder / "some.tsv")], files_per_speaker=9, seed=1, workers=1)
    write_speaker_pitch(folder / "pitch.tsv", ranges)
    return load_speaker_pitch(folder / "pitch.tsv").voices(SPEAKERS)


def test_each_becomes_the_other(tmp_path):
    """Guards against statistics that do not mean what the voice change does with them."""
    paths = [
        path.relative_to(NATURAL) for name in SPEAKERS for path in sorted((NATURAL / "dev" / name).rglob("*.*"))[:3]
    ]
    voices = voices_of(tmp_path, NATURAL, paths)
    (tmp_path / "changed").mkdir()
    for path in paths:
        speaker = path.name.split("-")[0]
        draw = draw_speaker_of(np.random.default_rng(0), list(voices.values()), list(voices).index(speaker))
        ratios = {name: getattr(draw, name) for name in ("formant_ratio", "pitch_ratio", "range_ratio")}
        wave = change_speaker(read_audio(NATURAL / path), SAMPLE_RATE, **ratios)
        soundfile.write(tmp_path / "changed" / f"{path.stem}.wav", wave, SAMPLE_RATE)
    changed = voices_of(tmp_path, tmp_path / "changed", [f"{path.stem}.wav" for path in paths])
    for own, other in (SPEAKERS, SPEAKERS[::-1]):
        assert changed[own].median == pytest.approx(voices[other].median, rel=0.04)
        assert changed[own].vocal_tract == pytest.approx(voices[other].vocal_tract, rel=0.04)
        assert changed[own].spread == pytest.approx(voices[other].spread, rel=0.25)
