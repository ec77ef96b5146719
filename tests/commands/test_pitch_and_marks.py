import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spin_fairseq.speech.manifest import load_manifest, write_manifest
from spin_fairseq.speech.pitch_mark_cache import PitchMarkCache
from spin_fairseq.speech.speaker_pitch import load_speaker_pitch
from spin_fairseq.perturbation.pitch import WIDE_RANGE
from tests.commands.running import spin_fairseq
from tests.synthetic_speech import SPEAKER_F0

REPOSITORY = Path(__file__).parents[2]


def estimate(arguments):
    return spin_fairseq("pitch", *arguments)


def measure(arguments):
    return spin_fairseq("marks", *arguments)


@pytest.fixture
def data(speech_folder, tmp_path):
    """A copy of the synthetic speech, which may be changed."""
    shutil.copytree(speech_folder.data, tmp_path / "data")
    for split in ("train", "dev"):
        lines = (tmp_path / "data" / f"{split}.tsv").read_text().splitlines()
        (tmp_path / "data" / f"{split}.tsv").write_text("\n".join(["audio", *lines[1:]]) + "\n")
    return tmp_path / "data"


# --- pitch ----------------------------------------------------------------------------------------------------


def test_ranges_hold_what_the_voices_do(data, tmp_path, capsys):
    table = tmp_path / "new" / "pitch.tsv"
    manifests = [str(data / "train.tsv"), str(data / "dev.tsv")]
    assert estimate([*manifests, "--out", str(table), "--workers", "2"]) == 0
    assert "pitch ranges of 4 speakers by 18 files" in capsys.readouterr().out
    pitch = load_speaker_pitch(table)
    assert len(pitch) == 4 and os.listdir(table.parent) == ["pitch.tsv"]
    medians = dict(line.split("\t")[::3][:2] for line in table.read_text().splitlines()[1:])
    voices = pitch.voices(SPEAKER_F0)
    for speaker, f0 in SPEAKER_F0.items():  # the voices move by 10 % to either side
        floor, ceiling = pitch.range(speaker)
        assert 0.6 * f0 < floor < 0.9 * f0 and 1.1 * f0 < ceiling < 2.2 * f0
        assert float(medians[speaker]) == voices[speaker].median == pytest.approx(f0, rel=0.07)
        assert 0.8 < voices[speaker].spread < 1.7  # 10 % are 1.7 semitones
    lengths = [voice.vocal_tract for voice in voices.values()]
    assert max(lengths) < 1.03 * min(lengths)  # their formants are the same


def test_workers_do_not_matter_and_files_are_chosen_by_the_seed(data, tmp_path):
    def table(name, *options):
        arguments = [str(data / "train.tsv"), "--out", str(tmp_path / name), "--files-per-speaker", "1", *options]
        assert estimate(arguments) == 0
        return (tmp_path / name).read_text()

    tables = [table(f"{seed}.tsv", "--seed", str(seed), "--workers", "1") for seed in range(4)]
    assert all(line.split("\t")[5] == "1" for line in tables[0].splitlines()[1:])
    assert table("again.tsv", "--workers", "2") == tables[0]
    assert len(set(tables)) > 1


def test_a_wide_voice_is_not_cut(tmp_path):
    """Beyond what quantiles in the middle tell: an eighth of the time an octave and a half higher."""
    seconds = np.arange(22400) / 16000
    for n in range(8):
        f0 = 330.0 if n == 0 else 110.0
        wave = sum(np.cos(2 * np.pi * k * f0 * seconds) / k for k in range(1, 8)) * 0.2
        soundfile.write(tmp_path / f"anna-{n}.wav", wave, 16000)
    write_manifest(tmp_path / "train.tsv", tmp_path, [(f"anna-{n}.wav", 22400) for n in range(8)])
    table = tmp_path / "pitch.tsv"
    assert estimate([str(tmp_path / "train.tsv"), "--out", str(table), "--workers", "1"]) == 0
    floor, ceiling = load_speaker_pitch(table).range("anna")
    assert floor < 110 and ceiling > 329


def test_voiceless_speakers_and_broken_files_are_named(data, capsys):
    audio = data / "audio"
    rng = np.random.default_rng(0)
    soundfile.write(audio / "hush-1.wav", 0.1 * rng.standard_normal(16000), 16000)
    (audio / "gone-1.wav").write_bytes(b"no audio")
    spoken = soundfile.info(audio / "19" / "19-train-0000.wav").frames
    rows = [("hush-1.wav", 16000), ("gone-1.wav", 16000), ("19/19-train-0000.wav", spoken), ("none.wav", 5, "19")]
    write_manifest(data / "more.tsv", "audio", rows)
    table = data / "pitch.tsv"
    assert estimate([str(data / "more.tsv"), "--out", str(table), "--workers", "1"]) == 3
    told = capsys.readouterr()
    assert "gone-1.wav: cannot be decoded" in told.err and "none.wav: no such file" in told.err
    assert "speaker hush: nothing is voiced in 1 files; 60 to 600 Hz" in told.err
    assert "speaker gone: nothing is voiced in 0 files" in told.err and "speaker 19:" not in told.err
    assert "3 speakers by 2 files; 2 files left out" in told.out
    pitch = load_speaker_pitch(table)
    assert pitch.range("hush") == pitch.range("gone") == WIDE_RANGE
    assert pitch.voices(["hush", "gone", "19"]).keys() == {"19"}


@pytest.mark.parametrize("speaker", [" 1", "1 ", "a\u2028b", "\udc80"])
def test_a_name_that_a_table_cannot_hold(data, capsys, speaker):
    write_manifest(data / "odd.tsv", "audio", [("19/19-train-0000.wav", 16000, speaker)])
    assert estimate([str(data / "odd.tsv"), "--out", str(data / "pitch.tsv"), "--workers", "1"]) == 1
    assert f"odd.tsv: speaker {speaker!r} cannot stand in a table" in capsys.readouterr().err
    assert not (data / "pitch.tsv").exists()


def test_without_a_readable_file_there_is_no_table(data, capsys):
    shutil.rmtree(data / "audio")
    assert estimate([str(data / "dev.tsv"), "--out", str(data / "pitch.tsv"), "--workers", "1"]) == 1
    assert "error: none of 6 files could be read" in capsys.readouterr().err and not (data / "pitch.tsv").exists()


# --- marks ----------------------------------------------------------------------------------------------------


def test_both_commands_in_turn(data, capsys):
    manifests = [str(data / "train.tsv"), str(data / "dev.tsv")]
    assert estimate([*manifests, "--out", str(data / "pitch.tsv"), "--workers", "1"]) == 0
    options = ["--speaker-pitch", str(data / "pitch.tsv"), "--out", str(data / "marks"), "--workers", "2"]
    assert measure([*manifests, *options]) == 0
    out = capsys.readouterr().out
    assert "train.marks: pitch marks of 12 utterances" in out and "dev.marks: pitch marks of 6 utterances" in out
    pitch = load_speaker_pitch(data / "pitch.tsv")
    for split in ("train", "dev"):
        manifest, cache = load_manifest(data, split), PitchMarkCache.open(data / "marks", split)
        assert cache.survey(manifest, pitch.range) == {"found": len(manifest)}


def test_exit_status_tells(data, capsys):
    arguments = [str(data / "dev.tsv"), "--out", str(data / "marks"), "--workers", "1"]
    manifest = load_manifest(data, "dev")
    os.truncate(manifest.path(2), 100)
    assert measure(arguments) == 3
    told = capsys.readouterr()
    assert f"left out: {manifest.path(2)}: " in told.err and "5 utterances" in told.out and "1 left out" in told.out
    assert measure([str(data / "none.tsv"), *arguments[1:]]) == 1
    assert "error: " in capsys.readouterr().err
    (data / "full").touch()
    assert measure([arguments[0], "--out", str(data / "full"), "--workers", "1"]) == 1


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found by Linux's /proc")
def test_killed_and_started_again(data):
    """One file does not open, as on a network folder that has gone, so that the run gets no farther."""
    name = Path(load_manifest(data, "train").path(6)).name
    (data / "startup").mkdir()
    (data / "startup" / "sitecustomize.py").write_text(
        "import time\n"
        "from spin_fairseq.speech import audio\n"
        "content = audio._content\n"
        f"audio._content = lambda path: time.sleep(600) if str(path).endswith({name!r}) else content(path)\n"
    )
    command = [sys.executable, "-m", "spin_fairseq", "marks", data / "train.tsv", "--out", data, "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    stuck = {**environment, "PYTHONPATH": os.pathsep.join([str(data / "startup"), environment["PYTHONPATH"]])}
    run = subprocess.Popen(command, env=stuck, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        parts = data / ".train.marks.parts"
        wait_until(lambda: len(list(parts.glob("[!.]*.marks"))) == 11 or run.poll() is not None)
        workers = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        assert len(workers) == 2 and run.poll() is None
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    wait_until(lambda: not any(running(pid) for pid in workers))
    assert not (data / "train.marks").exists()

    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "12 utterances" in done.stdout and "11 of them were there already" in done.stdout
    assert measure([str(data / "train.tsv"), "--out", str(data / "anew"), "--workers", "1"]) == 0
    assert (data / "train.marks").read_bytes() == (data / "anew" / "train.marks").read_bytes()
    assert not parts.exists()
