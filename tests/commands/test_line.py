"""What all verbs share: help, typos, errors, exit status, --quiet and --verbose, and no heavy import before it is needed."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from spin_fairseq import __version__
from spin_fairseq.commands import VERBS, inspect, train
from tests.commands.running import spin_fairseq

REPOSITORY = Path(__file__).parents[2]
ORDER = [
    "prepare",
    "pitch",
    "marks",
    "pack",
    "train",
    "inspect",
    "units",
    "pieces",
    "evaluate",
    "merge",
    "report",
    "convert",
]
every_verb = pytest.mark.parametrize("verb", VERBS)


def in_a_process(*words, options=()):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, *options, "-m", "spin_fairseq", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_the_verbs_are_shown_in_the_order_of_a_project(capsys):
    assert spin_fairseq() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == ORDER == list(VERBS)
    assert all(line.split(maxsplit=1)[1] == VERBS[line.split()[0]] for line in lines if line.startswith("  "))
    for words in (["--help"], ["-h"], ["help"]):
        assert spin_fairseq(*words) == 0 and capsys.readouterr().out.splitlines() == lines
    assert spin_fairseq("--version") == 0 and capsys.readouterr().out == f"spin-fairseq {__version__}\n"


@every_verb
def test_help_begins_with_examples(verb, capsys):
    """In a Python without numpy, torch or any other library: guards against imports that make the help slow."""
    done = in_a_process(verb, "--help", options=["-S"])
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith(f"  spin-fairseq {verb} ") and f"usage: spin-fairseq {verb}" in done.stdout
    assert spin_fairseq(verb, "--help") == 0
    module = importlib.import_module(f"spin_fairseq.commands.{verb}")
    assert module.EXAMPLES[-1] in capsys.readouterr().out.replace("\n  ", "\n")


def test_the_line_is_the_module():
    """Guards against `spin-fairseq` and `python -m spin_fairseq` that differ."""
    done = in_a_process(options=["-S"])
    assert done.returncode == 0 and done.stdout.startswith("usage: spin-fairseq VERB")
    assert '"spin-fairseq=spin_fairseq.commands.line:main"' in (REPOSITORY / "setup.py").read_text()


@every_verb
def test_one_vocabulary(verb, capsys):
    """Guards against a verb that calls by another name what all others call so."""
    spin_fairseq(verb, "--help")
    told = capsys.readouterr().out
    assert "--quiet" in told and "--verbose" in told
    assert ("--out " in told) == (verb not in ("train", "inspect", "merge"))
    assert ("--overwrite" in told) == (verb not in ("train", "inspect"))
    assert ("--workers N" in told) == (verb in ("prepare", "pitch", "marks"))
    assert ("--threads N" in told) == ("--device" in told) == (verb in ("units", "pieces", "evaluate"))
    shared = verb in ("prepare", "pitch", "marks", "units", "pieces")
    assert ("--shard K/N" in told) == ("--launcher" in told) == shared
    assert "--jobs" not in told


@pytest.mark.parametrize(
    "words, said",
    [
        (["unit"], "there is no verb 'unit'; did you mean units?"),
        (["evalute", "x"], "did you mean evaluate?"),
        (["--verison"], "did you mean --version?"),
        (["zzz"], "there are prepare, pitch"),
        (["units", "a", "b", "--uot", "c"], "there is no option --uot, did you mean --out?"),
        (["prepare", "a", "--out", "b", "--worker", "2"], "there is no option --worker, did you mean --workers?"),
        (["convert", "a", "--ovewrite"], "did you mean --overwrite?"),
        (["marks", "a", "--zzz"], "there is no option --zzz; see spin-fairseq marks --help"),
        (["train", "spin_demo", "--out", "b"], "no option --out; training writes to hydra.run.dir=FOLDER"),
        (["train", "spin_demo", "--out=b"], "no option --out; training writes to hydra.run.dir=FOLDER"),
        (["train", "spin_demo", "--sed", "1"], "there is no option --sed"),
        (["evaluate", "a.pt", "--data", "a.tsv", "b.tsv"], "b.tsv is a manifest, and stands where a model is expected"),
        (["units", "a", "b"], "--out"),
        (["prepare", "a", "--out", "b", "--workers", "0"], "'0' is no whole number of at least 1"),
        (["convert", "a", "--out", "b", "--to", "what"], "invalid choice"),
        (["inspect", "a", "--quiet", "--verbose"], "not allowed with"),
    ],
)
def test_wrong_command_lines(words, said, capsys):
    assert spin_fairseq(*words) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ") and said in told.err and told.err.count("\n") == 1 and not told.out


def test_what_train_says_of_other_verbs_options_is_so():
    """Guards against advice to set a key that a configuration does not have."""
    keys = set(re.findall(r"[a-z_]+\.[a-z_.]+(?==)|checkpoint.save_dir", " ".join(train.INSTEAD.values())))
    text = (REPOSITORY / "config" / "spin_demo.yaml").read_text()
    config = yaml.safe_load(text)
    assert len(keys) >= 7
    for key in keys:
        section, *names = key.split(".")
        assert names[-1] in (config["hydra"]["run"] if section == "hydra" else config[section]), key


def test_errors_are_one_line(tmp_path, capsys):
    assert spin_fairseq("inspect", tmp_path / "gone.pt") == 1
    told = capsys.readouterr()
    assert told.err == f"error: {tmp_path / 'gone.pt'}: no such file or folder; check its name\n" and not told.out
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.wav").write_text("no audio")
    assert spin_fairseq("prepare", tmp_path / "audio", "--out", tmp_path / "data", "--workers", 1) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_verbose_shows_where_an_error_comes_from(tmp_path, capsys):
    assert spin_fairseq("inspect", tmp_path / "gone.pt", "--verbose") == 1
    told = capsys.readouterr().err
    assert "Traceback" in told and told.splitlines()[-1].startswith("error: ")


def test_what_was_not_foreseen_is_one_line_too(monkeypatch, tmp_path, capsys):
    """Guards against a fault of this package that ends in a page of traceback, or in exit status 0."""
    monkeypatch.setattr(inspect, "page", lambda found: 1 / 0)
    assert spin_fairseq("inspect", REPOSITORY / "examples" / "demo" / "hubert_demo.pt") == 1
    assert (
        capsys.readouterr().err == "error: ZeroDivisionError: division by zero (not foreseen; --verbose shows where)\n"
    )


def test_quiet_says_nothing(speech_folder, tmp_path, capsys):
    words = ["pitch", speech_folder.data / "dev.tsv", "--workers", 1, "--files-per-speaker", 1]
    assert spin_fairseq(*words, "--out", tmp_path / "a.tsv", "--quiet") == 0
    told = capsys.readouterr()
    assert not told.out and not told.err and (tmp_path / "a.tsv").exists()
    assert spin_fairseq(*words, "--out", tmp_path / "b.tsv") == 0
    told = capsys.readouterr()
    assert "pitch ranges of 4 speakers" in told.out and not told.err  # no bar: stderr is no terminal here


@pytest.mark.parametrize("words", ["inspect examples/demo/hubert_demo.pt", "--help", "units --help"])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_closed_pipe_is_no_error(words, buffered):
    """`spin-fairseq inspect FILE | head -1`: guards against a traceback at its end, where Python flushes what it has buffered."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "" if buffered else "1"}
    line = f"{sys.executable} -W ignore -m spin_fairseq {words} | true"
    done = subprocess.run(line, shell=True, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stderr == ""


def test_messages_name_commands_that_the_reader_has():
    """Guards against an error that sends the user of a wheel to a script of the checkout."""
    for path in (REPOSITORY / "spin_fairseq").rglob("*.py"):
        text = path.read_text()
        assert "scripts/" not in text.replace("fairseq's own scripts/", ""), path
        for verb in re.findall(r"spin-fairseq (?!VERB|unknown)([a-z]\w+)", text):
            assert verb in VERBS, f"{path}: spin-fairseq {verb}"
