"""Every command line, given what it cannot use: `error: ...` and exit status 1 (2 for a wrong flag), no traceback, no file.

In this process, by each script's `main`, or by that of `spin-fairseq VERB`.
"""

import json

import pytest
import soundfile
import torch

from spin_fairseq.commands import VERBS
from spin_fairseq.commands.line import main
from tests.bad_inputs.judging import files_below, judge, limited, refused
from tests.scripts.loading import main_of as script

KIND = "command line"


@pytest.fixture(scope="module")
def place(speech_folder, small_hubert, tmp_path_factory):
    """A folder of things that commands may be given."""
    folder = tmp_path_factory.mktemp("place")
    for name, content in {
        "empty.tsv": "", "bad.tsv": "/speech\na.flac\n", "gone.tsv": "/speech\na.flac\t100\n", "bad.json": "[[", "text": "hello",
        "bad.pt": "hello", "pitch.tsv": "19\t400\t75\n", "file": "in the way", "evaluation.yaml": "a: [",
    }.items():  # fmt: skip
        (folder / name).write_text(content)
    for name in ("folder", "silence", "noise"):
        (folder / name).mkdir()
    soundfile.write(folder / "noise" / "a.wav", [[0.1, 0.1]] * 4000, 44100)
    (folder / "noise" / "b.wav").write_text("no audio")
    torch.save({"some": "thing"}, folder / "other.pt")
    (folder / "good.tsv").write_text((speech_folder.data / "dev.tsv").read_text())
    (folder / "good.pt").write_bytes(small_hubert.read_bytes())
    (folder / "config.json").write_text(json.dumps({}))
    return folder


CASES = {  # {} is the place
    "units": [
        "{}/gone.pt {}/good.tsv --out {}/a.km", "{}/bad.pt {}/good.tsv --out {}/a.km", "{}/other.pt {}/good.tsv --out {}/a.km",
        "{}/good.pt {}/good.tsv --out {}/a.km", "{}/good.pt {}/gone.tsv --out {}/a.npy --output features", "{}/folder {}/good.tsv --out {}/a.km",
        "{}/good.pt {}/nowhere.tsv --out {}/a.npy --output features", "{}/good.pt {}/empty.tsv --out {}/a.npy --output features",
        "{}/good.pt {}/bad.tsv --out {}/a.npy --output features", "{}/good.pt {}/bad.json --out {}/a.npy --output features",
        "{}/good.pt {}/folder --out {}/a.npy --output features", "{}/good.pt {}/text --out {}/a.npy --output features",
        "{}/good.pt {}/noise --out {}/a.npy --output features", "{}/good.pt {}/good.tsv --out {}/a.npy --output",
        "{}/good.pt {}/good.tsv --out {}/a.npy --output features --layer 9", "{}/good.pt {}/good.tsv --out {}/a.npy --format what",
        "{}/good.pt {}/good.tsv --out {}/a.npy --output features --layer 0", "{}/good.pt {}/good.tsv --out {}/a.npy --batch-seconds 0",
        "{}/good.pt {}/good.tsv --out {}/file/a.npy --output features", "{}/good.pt {}/good.tsv", "{}/good.pt", "",
        "{}/good.pt {}/good.tsv --out {}/a.npy --output features --device nowhere", "{}/good.pt {}/good.tsv --out {}/a.km --output tone",
        "{}/good.pt {}/good.tsv --out {}/a.npy --output features --device cuda:99", "{}/good.pt {}/good.tsv --out {}/a.npy --layer one",
    ],
    "convert": [
        "{}/gone.pt --out {}/out.pt --to hubert", "{}/bad.pt --out {}/out.pt --to hubert", "{}/other.pt --out {}/out.pt --to spin",
        "{}/good.pt --out {}/out.pt --to spin", "{}/good.pt --out {}/out.pt --to kmeans", "{}/good.pt --out {}/out.pt --to what",
        "{}/folder --out {}/out.pt --to hubert", "{}/good.pt --out {}/out.pt", "{}/good.pt --out {}/folder --to hubert",
        "{}/good.pt --out {}/file/out.pt --to hubert", "", "{}/good.pt --out {}/good.pt --to hubert",
    ],
    "prepare": [
        "{}/gone --out {}/new", "{}/folder --out {}/new", "{}/file --out {}/new", "{}/noise --out {}/file", "{}/noise",
        "{}/folder --out {}/new --dev-fraction 1", "{}/folder --out {}/new --dev-fraction x", "--out {}/new",
        "{}/folder --out {}/new --speaker-from nose", "{}/folder --out {}/new --workers many", "{}/noise --out {}/new --split a/b",
        "{}/gone --out {}/new --librispeech", "{}/folder --out {}/new --librispeech", "{}/file --out {}/new --librispeech",
        "{}/folder --librispeech", "--out {}/new --librispeech", "{}/folder --out {}/file --librispeech",
        "{}/folder --out {}/new --librispeech --train nothing", "{}/folder --out {}/new --librispeech --convert-to {}/new",
    ],
    "pitch": [
        "{}/gone/train.tsv --out {}/p.tsv", "{}/bad.tsv --out {}/p.tsv", "{}/empty.tsv --out {}/p.tsv", "{}/folder --out {}/p.tsv",
        "{}/good.tsv --out {}/p.tsv --files-per-speaker 0", "{}/good.tsv", "--out {}/p.tsv", "{}/bad.json --out {}/p.tsv",
        "{}/good.tsv --out {}/p.tsv --seed x",
    ],
    "marks": [
        "{}/gone/train.tsv --out {}/m", "{}/bad.tsv --out {}/m", "{}/empty.tsv --out {}/m", "{}/folder --out {}/m", "{}/good.tsv",
        "{}/good.tsv --out {}/m --speaker-pitch {}/gone", "{}/good.tsv --out {}/m --speaker-pitch {}/pitch.tsv", "--out {}/m",
        "{}/good.tsv --out {}/m --speaker-pitch {}/folder", "{}/good.tsv --out {}/file --workers 1",
    ],
    "evaluate": ["{}/gone.pt", "{}/bad.pt {}/gone.tsv", "", "--what"],
    "report": ["{}/gone", "", "{}/folder --out {}/r.html", "--what"],
    "train": ["", "nothing", "{}/gone.yaml", "spin_demo --config-dir {}/gone", "spin_demo --what"],
    "pack": ["{}/gone.tsv --out {}/new", "{}/bad.tsv --out {}/new", "", "{}/good.tsv --what"],
    "benchmark_data_loading": ["{}/gone.tsv", "{}/bad.tsv", "", "{}/good.tsv --workers x"],
    "benchmark_perturbation": ["{}/gone/a.tsv", "{}/bad.tsv", "", "{}/good.tsv --what"],
    "benchmark_training_step": ["--encoder what", "--size giant", "--steps x"],
    "listen_to_perturbation": ["{}/nowhere", "{}/folder", "{}/bad.tsv", "{}/good.tsv --draws 0"],
    "compare_with_praat": ["{}/nowhere", "{}/folder", "{}/bad.tsv", "{}/good.tsv --what"],
    "run_fairseq_script": ["{}/gone.py", "no_such_script.py"],
}  # fmt: skip


def main_of(name):
    if name in VERBS:
        return lambda arguments: main([name, *arguments])
    return script(name)


@pytest.mark.parametrize("name", CASES)
def test_errors(name, place, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # what goes where nobody said
    command = main_of(name)
    for case in CASES[name]:
        arguments = case.format(*[place] * 5).split()
        before = files_below(place)
        with limited():
            try:
                status = command(arguments)
            except SystemExit as leaving:
                status = leaving.code
        printed = capsys.readouterr()
        if isinstance(status, str):  # what Python prints, before it exits with 1
            printed, status = printed._replace(err=printed.err + status), 1
        assert status in (1, 2), f"{name} {case}: exit status {status}"
        assert "error: " in printed.err and "Traceback" not in printed.err, f"{name} {case}: {printed.err}"
        if status == 1:
            judge(printed.err[printed.err.index("error: ") :])
        new = {path for path in files_below(place) if path not in before and not path.endswith((".broken.txt", "/new"))}
        assert not new, f"{name} {case}"
        assert not list(tmp_path.iterdir()), f"{name} {case}"
        refused[KIND] += 1
