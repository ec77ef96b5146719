"""That the benchmark counts what it says; its figures are for a trained model and a quiet machine."""

import pytest
import torch

from tests.scripts.loading import main_of
from tests.spin_checkpoints import save_spin


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    checkpoint = save_spin(tmp_path / "spin.pt")
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # the other tests keep theirs

    def run(*words):
        main_of("benchmark_streaming")(list(map(str, words)))
        return capsys.readouterr().out

    return lambda audio, *words: run(checkpoint, audio, *words)


def cells(text):
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines()]
    return [dict(zip(rows[0], row)) for row in rows[2:]]


def test_table_and_plot(run, speech_folder, tmp_path):
    """Guards against agreement with frames of another place: with the whole file in one chunk, all agree."""
    out = tmp_path / "made" / "streaming"
    words = ["--chunk-ms", 200, 9000, "--look-ahead-ms", 0, 100, "--left-context-ms", 200, "--out", out]
    rows = cells(run(speech_folder.data / "dev.tsv", *words))
    assert [row["latency, ms"] for row in rows] == ["205", "305", "9005", "9105"]
    for row in rows[2:]:
        assert row["agreement"] == row["statistics of the whole file"] == "1.000" and row["edits"] == "0.000"
    assert float(rows[0]["agreement"]) < 1 and float(rows[0]["edits"]) > 0
    assert all(float(row["real-time factor"]) > 0 for row in rows)
    assert cells(out.with_suffix(".md").read_text()) == rows and out.with_suffix(".png").stat().st_size > 5000


def test_a_long_stream_has_the_frames_of_the_whole_file(run, speech_folder):
    text = run(speech_folder.data / "dev.tsv", "--minutes", 0.5, "--chunk-ms", 1000, "--look-ahead-ms", 0)
    assert "1499 frames; the whole file has 1499" in text and "MB" in text
