import re

import numpy as np
import pytest

from spin_fairseq.speech.manifest import load_manifest
from spin_fairseq.report import colouring, utterances
from spin_fairseq.report.utterances import phone_strip, read_utterances, spread_over_speakers, unit_strip


def test_boxes_lie_where_the_labels_are():
    strip = phone_strip(["SIL"] * 10 + ["AA"] * 20 + ["T"] * 10, 0.5)
    assert [(box.label, round(box.begin, 3), round(box.end, 3)) for box in strip.boxes] == [
        ("SIL", 0.0, 0.1), ("AA", 0.1, 0.3), ("T", 0.3, 0.4)
    ]  # fmt: skip
    assert [(box.left, box.width) for box in strip.boxes] == [(0, 20), (20, 40), (60, 20)]
    assert strip.model is None


def test_units_last_their_frames_of_20_ms_and_end_with_the_utterance():
    strip = unit_strip("spin", 3, [7, 2, 9], [5, 10, 5], 0.02, 0.2, {})
    assert [(box.label, round(box.begin, 3), round(box.end, 3)) for box in strip.boxes] == [
        ("7", 0.0, 0.1),
        ("2", 0.1, 0.2),
    ]
    assert strip.boxes[-1].left + strip.boxes[-1].width == pytest.approx(100)
    assert strip.boxes[0].words == "unit 7" and strip.model == 3


def test_a_unit_has_the_colour_of_its_likeliest_phone():
    looks = colouring.of_units(np.array([[3, 0, 0], [1, 5, 0]]), ["AA", "S"])
    assert set(looks) == {0, 1} and looks[0] == (colouring.of_phone("AA"), "AA", 0.75)
    (box, _) = unit_strip("spin", 0, [0, 2], [1, 1], 0.04, 1.0, looks).boxes
    assert box.colour == colouring.of_phone("AA") and box.words == "unit 0, mostly AA (75%)"


def test_phones_of_a_class_are_near_and_classes_apart():
    hue = {name: colouring.of_phone(name).hue for name in ("AA", "iy", "S", "N", "T", "L", "SIL", "ʃ")}
    assert hue["SIL"] is None and abs(hue["AA"] - hue["iy"]) < 90
    assert min(abs(hue[a] - hue[b]) for a, b in ("SN", "ST", "NT", "TL", "NL")) > 20
    assert hue["ʃ"] == colouring.of_phone("ʃ").hue and 0 <= hue["ʃ"] < 360
    assert len({colouring.of_phone(name) for name in colouring.ARPABET}) == len(colouring.ARPABET)


def test_rows_are_spread_over_speakers(speech_folder):
    manifest = load_manifest(speech_folder.data, "dev")
    rows = spread_over_speakers(manifest, 3)
    assert len({manifest.speaker(row) for row in rows}) == 3
    assert len(spread_over_speakers(manifest, 100)) == len(manifest.speakers())
    assert spread_over_speakers(manifest, 0) == []


def test_an_utterance_has_two_voices_of_the_same_length(speech_folder):
    manifest = load_manifest(speech_folder.data, "dev")
    asked = []
    (found,), notes = read_utterances(manifest, [0], 1.0, 6, lambda *about: asked.append(about) or [])
    assert notes == [] and asked == [(manifest.utterance_id(0), 1.0)] and found.seconds == 1.0 and found.cut
    original, perturbed = found.views
    assert original.sound != perturbed.sound and original.spectrogram != perturbed.spectrogram
    assert "formants ×" in perturbed.words
    again = read_utterances(manifest, [0], 1.0, 6, lambda *_: [])[0][0]
    assert again.views[1].sound == perturbed.sound  # one fixed draw
    other = read_utterances(manifest, [0], 1.0, 7, lambda *_: [])[0][0]
    assert other.views[1].sound != perturbed.sound


def test_a_file_that_is_gone_is_left_out(speech_folder, monkeypatch):
    manifest = load_manifest(speech_folder.data, "dev")
    gone = manifest.path(0)
    path = manifest.path
    monkeypatch.setattr(manifest, "path", lambda row: "/nowhere/a.flac" if path(row) == gone else path(row))
    found, notes = read_utterances(manifest, [0, 1], 1.0, 0, lambda *_: [])
    assert [one.name for one in found] == [manifest.utterance_id(1)]
    assert len(notes) == 1 and manifest.utterance_id(0) in notes[0] and "/nowhere/a.flac" in notes[0]


def test_outline_spans_its_box():
    path = utterances.outline(np.sin(np.arange(4000) * 0.05), columns=100)
    points = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), float)
    assert path.startswith("M") and path.endswith("Z") and len(points) == 200
    assert points[:, 0].min() >= 0 and points[:, 0].max() <= 1000
    assert points[:, 1].min() == pytest.approx(1, abs=0.5) and points[:, 1].max() == pytest.approx(99, abs=0.5)
