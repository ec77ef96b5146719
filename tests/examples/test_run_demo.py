"""The demo as somebody meets it: stopped, given again, given once more, and with other settings."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

from tests.examples.conftest import DEMO


@pytest.fixture(scope="module")
def demo(demo_module):
    return demo_module("run_demo")


@pytest.fixture(scope="module")
def results(demo_module):
    four = demo_module("four_models")
    values = {"mfcc": 0.37, "base": 0.43, "start": 0.432, "spin": 0.433}
    return {name: dict.fromkeys(four.METRICS, value) for name, value in values.items()}


@pytest.fixture(scope="module")
def steps(demo_module):
    return demo_module("steps")


# --- what it says ---------------------------------------------------------------------------------------------------------


def test_the_table_on_a_terminal_has_the_cells_of_the_page(demo, results):
    rows = demo.table([results], brief=True)
    lines = demo.aligned(rows)
    assert len({len(line) for line in lines}) == 1 and len(lines) == len(rows)
    assert lines[3].split() == ["PNMI", "↑", "0.370", "0.430", "0.432", "0.433", "+0", "%"]
    assert lines[2].strip() == "phones kept"


def test_the_base_is_that_of_the_configuration(demo):
    """Guards against a demo and a `spin-fairseq train spin_demo` that train different models."""
    config = yaml.safe_load(demo.CONFIG.read_text())
    assert demo.REPOSITORY / config["model"]["checkpoint"] == demo.BASE and demo.BASE.is_file()


def test_the_end_names_the_report_and_three_commands(demo, results, tmp_path):
    text = "\n".join(demo.closing(tmp_path, results))
    commands = re.findall(r"^    (spin-fairseq .*)$", text, re.MULTILINE)
    assert len(commands) == 3 and "MY_AUDIO" in commands[0] and str(tmp_path / "report.html") in text


# --- what has changed -------------------------------------------------------------------------------------------------------


def test_every_setting_and_file_counts(demo, tmp_path):
    base = tmp_path / "base.pt"
    base.write_bytes(b"a")
    first = demo.fingerprints(base, 1, [])
    assert demo.fingerprints(base, 1, []) == first
    others = [demo.fingerprints(base, 2, []), demo.fingerprints(base, 1, ["optimization.max_update=3"])]
    base.write_bytes(b"b")
    others.append(demo.fingerprints(base, 1, []))
    assert not {digest for pair in others for digest in pair} & set(first) and len(set(others)) == 3


def test_a_training_with_other_settings_is_made_anew(demo, tmp_path, capsys):
    """Guards against results of one training under the settings of another."""
    for name in ("checkpoint_last.pt", "checkpoint_best.pt", "results.json", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "evaluation").mkdir()
    demo.make_room(tmp_path, "new", {"training": "new"})
    assert len(list(tmp_path.iterdir())) == 5
    demo.make_room(tmp_path, "new", {"training": "old"})
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert "made anew" in capsys.readouterr().out


def test_a_start_with_other_settings_is_made_anew(demo, tmp_path, capsys):
    """Guards against a demo that was stopped after the start, and then goes on from the start of other settings."""
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "checkpoint_last.pt").touch()
    demo.make_room(tmp_path, "new", {"training": "old"})
    assert not list(tmp_path.iterdir())


def test_a_training_that_the_demo_has_not_made_is_left_alone(demo, tmp_path):
    (tmp_path / "checkpoint_last.pt").touch()
    with pytest.raises(SystemExit, match="nothing says how it was trained; choose another --out"):
        demo.make_room(tmp_path, "new", {})
    assert (tmp_path / "checkpoint_last.pt").exists()


def test_records_are_whole_or_none(steps, tmp_path):
    file = tmp_path / "record.json"
    assert steps.read_record(file) == {}
    steps.write_record(file, {"a": 1})
    assert steps.read_record(file) == {"a": 1} and list(tmp_path.iterdir()) == [file]
    for damaged in ("{", "[1]", ""):
        file.write_text(damaged)
        assert steps.read_record(file) == {}


# --- steps --------------------------------------------------------------------------------------------------------------


def test_a_step_logs_what_its_command_prints_and_names_the_log_when_it_fails(steps, tmp_path, capsys):
    log = tmp_path / "logs" / "1.log"
    script = (
        "import sys; print('of 3'); print('at 2'); print('the reason', file=sys.stderr); sys.exit(int(sys.argv[1]))"
    )
    command = [sys.executable, "-c", script]
    with steps.Step(1, "title", log) as step:
        step.run([*command, "0"], dict(os.environ), r"of (\d)", r"at (\d)")
    assert "the reason" in log.read_text() and "1/4  title  (log: " in capsys.readouterr().out
    with pytest.raises(steps.StepFailed, match=re.escape(f"its log is {log}")):
        with steps.Step(1, "title", log) as step:
            step.run([*command, "1"], dict(os.environ), r"of (\d)", r"at (\d)")
    assert "the reason" in capsys.readouterr().err


def start(out):
    command = [sys.executable, str(DEMO / "run_demo.py"), "--out", str(out), "optimization.max_update=4", "dataset.validate_interval_updates=2",
               "checkpoint.save_interval_updates=1"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # where the tests run in the background, it is ignored
    )  # fmt: skip


@pytest.mark.slow
def test_stopped_given_again_and_once_more(tmp_path):
    """Guards against a demo that Ctrl-C breaks, that begins from the start, or that takes minutes to say the same again."""
    out = tmp_path / "demo"
    process, deadline = start(out), time.time() + 300
    while not (out / "checkpoint_last.pt").exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    printed = process.communicate(timeout=120)[0]
    assert process.returncode == 130 and "the same command resumes from here" in printed, printed

    printed = start(out).communicate(timeout=900)[0]
    assert "Loaded checkpoint" in (out / "logs" / "2_training.log").read_text(), printed
    assert [line[:3] for line in printed.splitlines() if re.match(r"\d/4", line)] == ["1/4", "2/4", "3/4", "4/4"]
    assert "Done in" in printed and "spin-fairseq units" in printed and "INFO" not in printed
    results = json.loads((out / "results.json").read_text())
    for name in ("base", "start", "spin"):
        assert {"pnmi", "cluster_purity", "phone_purity", "speaker_accuracy"} <= set(results[name])
    assert results["base"]["speaker_accuracy_equal_width"] < results["base"]["speaker_accuracy"]
    assert all((out / name).stat().st_size for name in ("report.html", "dev.km", "results.md"))

    began = time.time()
    again = start(out).communicate(timeout=100)[0]
    assert (
        again.startswith("Nothing has changed")
        and again.splitlines()[1:] == printed[printed.index("Done in") :].splitlines()[1:]
    )
    assert time.time() - began < 20
