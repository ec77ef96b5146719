"""Shards of each verb that has them, joined, beside what one machine makes: the same bytes."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from spin_fairseq.extraction import dumping
from spin_fairseq.speech.manifest import load_manifest
from tests.commands.running import spin_fairseq
from tests.spin_checkpoints import save_spin
from tests.synthetic_speech import synthetic_voice

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_spin(tmp_path_factory.mktemp("spin") / "checkpoint_last.pt")


@pytest.fixture
def short_groups(monkeypatch):
    """Groups of 3 s, so that a small corpus has several shards."""
    monkeypatch.setattr(dumping, "GROUP_SAMPLES", 48000)


def run_shards(verb, *words, of=3):
    return [spin_fairseq(verb, *words, "--shard", f"{number}/{of}") for number in range(of, 0, -1)]


def same_files(one, other):
    names = sorted(path.relative_to(one) for path in Path(one).rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other) for path in Path(other).rglob("*") if path.is_file())
    for name in names:
        assert (Path(one) / name).read_bytes() == (Path(other) / name).read_bytes(), name
    return names


@pytest.mark.parametrize(
    "out, options",
    [("dev.km", ["--deduplicate"]), ("dev.jsonl", []), ("dev.npy", []), ("dev_0_1.npy", ["--output", "features"])],
)
def test_units(out, options, checkpoint, speech_folder, short_groups, tmp_path, capsys):
    """Guards against shards in other batches than one machine's: features would differ in their last bits."""
    words = [checkpoint, speech_folder.data / "train.tsv", *options, "--out"]
    assert spin_fairseq("units", *words, tmp_path / "one" / out) == 0
    assert run_shards("units", *words, tmp_path / "many" / out) == [0, 0, 0]
    assert "12 utterances" in capsys.readouterr().out
    assert spin_fairseq("merge", tmp_path / "many" / out) == 0
    assert (
        f"{out}: {'features' if options[:1] == ['--output'] else 'units'} of 12 utterances, of 3 shards"
        in capsys.readouterr().out
    )
    assert len(same_files(tmp_path / "one", tmp_path / "many")) == {"km": 2, "jsonl": 1, "npy": 3}[out.split(".")[1]]


def test_a_shard_is_kept_and_may_have_nothing_to_do(checkpoint, speech_folder, tmp_path, capsys):
    """All of the corpus is one group, which one of the shards has."""
    words = [checkpoint, speech_folder.data / "dev.tsv", "--out", tmp_path / "dev.km"]
    assert run_shards("units", *words, of=2) == [0, 0]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "dev.km.shards").iterdir()}
    assert (
        spin_fairseq("units", *words, "--shard", "1/2") == 0
        and "shard 1/2 is finished already" in capsys.readouterr().out
    )
    assert spin_fairseq("merge", tmp_path / "dev.km", "--keep") == 0
    assert len((tmp_path / "dev.km").read_text().splitlines()) == 6
    assert times.items() <= {
        path: path.stat().st_mtime_ns for path in (tmp_path / "dev.km.shards").iterdir()
    }.items() | {(path, when) for path, when in times.items() if path.suffix == ".lock"}
    assert spin_fairseq("merge", tmp_path / "dev.km") == 1 and "--overwrite replaces" in capsys.readouterr().err
    assert spin_fairseq("merge", tmp_path / "dev.km", "--overwrite") == 0
    assert sorted(os.listdir(tmp_path)) == ["dev.ids", "dev.km"]


def test_a_merge_without_all_shards(checkpoint, speech_folder, tmp_path, capsys):
    words = [checkpoint, speech_folder.data / "dev.tsv", "--out", tmp_path / "dev.km"]
    assert spin_fairseq("units", *words, "--shard", "2/4") == 0
    assert spin_fairseq("merge", tmp_path / "dev.km") == 1
    told = capsys.readouterr().err
    assert (
        "of 4 shards, 3 are missing: 1, 3, 4; run them, the first by: spin-fairseq units " in told
        and "--shard 1/4" in told
    )
    assert not (tmp_path / "dev.km").exists()


def test_a_corpus_that_changed(checkpoint, speech_folder, tmp_path, capsys):
    """Guards against units of an older manifest under the name of the new one."""
    shutil.copytree(speech_folder.data, tmp_path / "data")
    words = [checkpoint, tmp_path / "data" / "dev.tsv", "--out", tmp_path / "dev.km"]
    run_shards("units", *words, of=2)
    rows = (tmp_path / "data" / "dev.tsv").read_text().splitlines()
    (tmp_path / "data" / "dev.tsv").write_text("\n".join(rows[:-1]) + "\n")
    assert (
        spin_fairseq("merge", tmp_path / "dev.km") == 1
        and "has changed since the shards were made" in capsys.readouterr().err
    )
    assert run_shards("units", *words, of=2) == [0, 0] and spin_fairseq("merge", tmp_path / "dev.km") == 0
    assert len((tmp_path / "dev.ids").read_text().splitlines()) == 5


def test_marks_and_pitch(speech_folder, tmp_path, capsys):
    manifests = [speech_folder.data / "train.tsv", speech_folder.data / "dev.tsv"]
    for folder in ("one", "many"):
        words = [
            "pitch",
            *manifests,
            "--workers",
            1,
            "--files-per-speaker",
            2,
            "--out",
            tmp_path / folder / "pitch.tsv",
        ]
        marks = ["marks", *manifests, "--workers", 1, "--speaker-pitch", tmp_path / folder / "pitch.tsv"]
        marks += ["--out", tmp_path / folder / "marks"]
        if folder == "one":
            assert spin_fairseq(*words) == spin_fairseq(*marks) == 0
        else:
            assert run_shards(*words) == [0, 0, 0] and spin_fairseq("merge", tmp_path / folder / "pitch.tsv") == 0
            assert run_shards(*marks) == [0, 0, 0] and spin_fairseq("merge", tmp_path / folder / "marks") == 0
    told = capsys.readouterr().out
    assert "many/pitch.tsv: pitch ranges of 4 speakers by 8 files" in told
    assert "train.marks: pitch marks of 12 utterances, of 3 shards" in told
    assert len(same_files(tmp_path / "one", tmp_path / "many")) == 3


def test_what_shards_leave_out_is_told(speech_folder, tmp_path, capsys):
    shutil.copytree(speech_folder.data, tmp_path / "data")
    rows = (tmp_path / "data" / "dev.tsv").read_text().splitlines()
    (tmp_path / "data" / "dev.tsv").write_text("\n".join([str(tmp_path / "data" / "audio"), *rows[1:]]) + "\n")
    os.truncate(load_manifest(tmp_path / "data", "dev").path(0), 100)
    words = ["marks", tmp_path / "data" / "dev.tsv", "--workers", 1, "--out", tmp_path / "marks"]
    assert sorted(run_shards(*words, of=6)) == [0, 0, 0, 0, 0, 3]
    assert "left out: " in capsys.readouterr().err
    assert spin_fairseq("merge", tmp_path / "marks") == 3
    assert "5 utterances, of 6 shards; 1 left out, named by their shards" in capsys.readouterr().out


def test_pieces(checkpoint, speech_folder, short_groups, tmp_path, capsys):
    pytest.importorskip("tokenizers", reason="comes with the extra `pieces`")
    manifests = [speech_folder.data / f"{split}.tsv" for split in ("train", "dev")]
    words = ["pieces", *manifests, "--model", checkpoint, "--vocabulary", 70, "--out"]
    assert spin_fairseq(*words, tmp_path / "one") == 0
    assert run_shards(*words, tmp_path / "many") == [0, 0, 0] and spin_fairseq("merge", tmp_path / "many") == 0
    names = ["units/train.jsonl", "units/dev.jsonl", "tokenizer.json", "train.bin", "train.len", "train.ids", "dev.bin"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes(), name
    assert spin_fairseq(*words, tmp_path / "many") == 0  # it finds the units, and nothing is left to do
    capsys.readouterr()
    assert spin_fairseq("pieces", tmp_path / "a.km", "--out", tmp_path / "no", "--shard", "1/2") == 2
    assert "shards are for --model" in capsys.readouterr().err


def test_prepare(tmp_path):
    audio = tmp_path / "audio"
    audio.mkdir()
    for number in range(7):
        wave = synthetic_voice(110.0 + 10 * number, ["AA", "IY"][: 1 + number % 2], seed=number)
        soundfile.write(audio / f"s{number % 3}-{number}.wav", wave, 16000)
    (audio / "s1-bad.wav").write_text("no audio")
    options = ["--workers", 1, "--dev-fraction", 0.3, "--convert-to"]
    assert spin_fairseq("prepare", audio, "--out", tmp_path / "one", *options, tmp_path / "flac") == 0
    assert run_shards("prepare", audio, "--out", tmp_path / "many", *options, tmp_path / "flac") == [0, 0, 0]
    assert not (tmp_path / "many").exists()
    assert spin_fairseq("merge", tmp_path / "many") == 0
    names = same_files(tmp_path / "one", tmp_path / "many")
    assert sorted(map(str, names)) == ["dev.tsv", "train.broken.txt", "train.tsv"]


# --- interruptions ------------------------------------------------------------------------------------------------


@pytest.fixture
def limited():
    """limited(bytes): no file may become larger, as on a disk that fills up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk(checkpoint, speech_folder, short_groups, tmp_path, limited, capsys):
    """Guards against a shard that counts as finished though its last rows found no room."""
    words = [checkpoint, speech_folder.data / "train.tsv", "--output", "features", "--out"]
    assert spin_fairseq("units", *words, tmp_path / "one" / "a.npy") == 0
    limited(60_000)
    assert spin_fairseq("units", *words, tmp_path / "many" / "a.npy", "--shard", "1/2") == 1
    told = capsys.readouterr().err
    assert "1-of-2.npy: cannot be written (File too large); make room there" in told and told.count("\n") == 1
    assert not (tmp_path / "many" / "a.npy.shards" / "1-of-2.json").exists()
    limited(resource.RLIM_INFINITY)
    assert run_shards("units", *words, tmp_path / "many" / "a.npy", of=2) == [0, 0]
    limited(100_000)
    assert spin_fairseq("merge", tmp_path / "many" / "a.npy") == 1 and "make room there" in capsys.readouterr().err
    assert os.listdir(tmp_path / "many") == ["a.npy.shards"]
    limited(resource.RLIM_INFINITY)
    assert spin_fairseq("merge", tmp_path / "many" / "a.npy") == 0
    same_files(tmp_path / "one", tmp_path / "many")


KILLED = """
import sys; sys.argv[0] = "spin-fairseq"
from spin_fairseq.commands.line import main
from spin_fairseq.extraction import dumping
dumping.GROUP_SAMPLES = 48000
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_shard_resumes(checkpoint, speech_folder, short_groups, tmp_path, capsys):
    words = [checkpoint, speech_folder.data / "train.tsv", "--out"]
    assert spin_fairseq("units", *words, tmp_path / "one" / "a.km") == 0
    out = tmp_path / "many" / "a.km"
    command = [sys.executable, "-W", "ignore", "-c", KILLED, "units", *map(str, words), str(out), "--shard", "2/2"]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"})
    progress = tmp_path / "many" / "a.km.shards" / "2-of-2.km.progress"
    while not progress.exists() and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert progress.exists() and not progress.with_name("2-of-2.json").exists()
    assert spin_fairseq("merge", out) == 1 and "no finished shard there" in capsys.readouterr().err
    assert run_shards("units", *words, out, of=2) == [0, 0] and spin_fairseq("merge", out) == 0
    same_files(tmp_path / "one", tmp_path / "many")


# --- launchers ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "submitit"])
def test_launchers(launcher, speech_folder, tmp_path, monkeypatch, capsys):
    """submitit starts its jobs on this machine, where there is no Slurm."""
    if launcher == "submitit":
        pytest.importorskip("submitit", reason="comes with the extras `slurm` and `test`")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    words = ["pitch", speech_folder.data / "train.tsv", "--workers", 1, "--out"]
    assert spin_fairseq(*words, tmp_path / "one" / "pitch.tsv") == 0
    options = [
        "--launcher",
        launcher,
        "--shards",
        2,
        *(["--slurm", "partition=short"] if launcher == "submitit" else []),
    ]
    assert spin_fairseq(*words, tmp_path / "many" / "pitch.tsv", *options) == 0
    told = capsys.readouterr().out
    assert "2 shards" in told and "pitch ranges of 4 speakers by 12 files" in told
    same_files(tmp_path / "one", tmp_path / "many")


@pytest.mark.slow
def test_failed_shards_are_named(speech_folder, tmp_path, monkeypatch, capsys):
    """A folder is in the way of one shard. Guards against a launcher that merges the others, or hides what went wrong."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    (tmp_path / "marks.shards" / "1-of-2.dev.marks").mkdir(parents=True)
    words = ["marks", speech_folder.data / "dev.tsv", "--out", tmp_path / "marks", "--launcher", "local", "--shards", 2]
    assert spin_fairseq(*words) == 1
    assert "of 2 shards, 1 failed: 1; what they said is in" in capsys.readouterr().err
    assert "1-of-2.dev.marks: cannot be written" in (tmp_path / "marks.shards" / "logs" / "1-of-2.log").read_text()
    assert not (tmp_path / "marks").exists()


def test_what_is_wrong_is_told_before_shards_start(speech_folder, tmp_path, capsys):
    words = [
        "marks",
        speech_folder.data / "dev.tsv",
        "--speaker-pitch",
        tmp_path / "gone.tsv",
        "--out",
        tmp_path / "marks",
    ]
    assert spin_fairseq(*words, "--launcher", "local", "--shards", 2) == 1
    assert "gone.tsv: cannot be read" in capsys.readouterr().err and not (tmp_path / "marks.shards").exists()


def test_an_unknown_setting_of_slurm(speech_folder, tmp_path, capsys):
    pytest.importorskip("submitit", reason="comes with the extras `slurm` and `test`")
    words = ["pitch", speech_folder.data / "dev.tsv", "--out", tmp_path / "pitch.tsv", "--launcher", "submitit"]
    assert spin_fairseq(*words, "--slurm", "partitoin=gpu") == 1
    assert "error: --slurm: " in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "3/", "-1/2"])
def test_a_shard_that_is_none(text, tmp_path, capsys):
    assert spin_fairseq("marks", tmp_path / "a.tsv", "--out", tmp_path, f"--shard={text}") == 2
    assert "is no shard such as 3/64" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--shard", "1/2"], ["--launcher", "local"], ["--slurm", "time=1"]])
def test_a_pipe_has_no_shards(options, checkpoint, capsys):
    assert spin_fairseq("units", checkpoint, "-", *options) == 2
    assert f"{options[0]} is for files, not for standard input" in capsys.readouterr().err
