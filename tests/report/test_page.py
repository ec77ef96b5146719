import html
import json
import re
import subprocess
import sys

import pytest

from spin_fairseq.errors import ConfigError
from spin_fairseq.report import page
from spin_fairseq.report.page import read_sources, write_report
from tests.report.small_report import metric, make_results, make_run
from tests.commands.running import spin_fairseq

HOSTILE = """<img src=x onerror="document.title='hacked'">'</script><b>"""


def written(folders, tmp_path, **options):
    """-> (the page without plotly, what it holds)."""
    out = tmp_path / "page" / "report.html"
    content = write_report(folders, out, **{"utterances": 0, **options})
    assert [file.name for file in out.parent.iterdir()] == ["report.html"]  # no temporary file is left
    return re.sub(r"<script>/\*\*\n\* plotly.*?</script>", "", out.read_text("utf-8"), flags=re.S), content


def charts_of(text):
    return json.loads(re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.S)[1])


def sections(text):
    return re.findall(r'<section id="(\w+)"', text)


def test_everything_is_there(run_folder, results_folder, tmp_path):
    text, content = written([run_folder, results_folder], tmp_path, utterances=2, seconds=1.0, command="python x")
    assert sections(text) == ["comparison", "units", "layers", "utterances", "training", "record"]
    assert text.count("<audio") == 4 and content["utterance_notes"] == []
    assert len(charts_of(text)) == text.count('data-chart="') == 2 + 1 + 2 + 4
    assert "0.480 to 0.520" in text and "Fraction of the phones' entropy" in html.unescape(text)
    assert "one speaker" in text and "fairseq-hydra-train --config-dir config" in text and "python x" in text
    assert "+0.050 to +0.150, p 0.002" in text and "spin − base" in text


def test_the_page_opens_with_phones_and_speakers(speech_folder, tmp_path):
    """Guards against a page whose reader meets entropies and bitrates before what Spin is for."""

    def change(content):
        for value, model in zip((0.1, 0.3), content["models"]):
            model["metrics"]["speakers"] = {"speaker_nmi": metric(value), "speaker_nmi_above_chance": metric(value - 0.05),
                                            "speaker_accuracy": metric(value + 0.2)}  # fmt: skip
            model["width"] = int(640 * value)

    text, content = written([make_results(tmp_path / "both", speech_folder, change=change)], tmp_path)
    assert [row.key for row in content["opening"]] == ["pnmi", "phone_purity", "speaker_nmi_above_chance"]
    opening = text[text.index('id="opening"') : text.index('<details class="group"')]
    assert [word for word in ("PNMI", "Phone purity", "above chance", "0.250") if word not in opening] == []
    card = text[text.index("<span>Speaker accuracy") :].split("<h4")[0]
    assert "models of equal width only" in card and card.index("of 64 dimensions") < card.index("of 192 dimensions")
    assert text.count("of 192 dimensions") == 2  # there and in the table

    def without_speakers(content):
        for model in content["models"]:
            del model["metrics"]["speakers"]

    text, content = written([make_results(tmp_path / "phones", speech_folder, change=without_speakers)], tmp_path)
    assert content["opening"] == [] and 'id="opening"' not in text


def test_a_model_is_shown_by_the_name_that_it_was_given(speech_folder, tmp_path):
    """Guards against a Spin and its start that both read "Spin, K = 12", with nothing to tell them apart."""

    def change(content):
        for model in content["models"]:
            model.update(kind="spin", layer=None)

    text, _ = written(
        [make_results(tmp_path / "both", speech_folder, names=("start", "spin"), change=change)], tmp_path
    )
    words = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", text[text.index("<header>") : text.index("<nav>")]))
    assert "start: Spin, K = 12" in words and "spin: Spin, K = 12" in words


def test_units_are_in_the_strips_of_their_model(results_folder, tmp_path):
    text, content = written([results_folder], tmp_path, utterances=1, seconds=1.0)
    phones, spin, base = content["utterances"][0].strips
    assert (phones.model, spin.model, base.model) == (None, 0, 1) and spin.title == "spin"
    # The fixture's units are twice the number of the phone, but for one in ten.
    expected = [box.label for box in phones.boxes]
    looks = [box.words.split("mostly ")[1].split(" ")[0] for box in spin.boxes if box.end - box.begin > 0.1]
    assert len(looks) >= 2 and set(looks) <= set(expected)


def test_a_training_alone(run_folder, tmp_path):
    text, _ = written([run_folder], tmp_path)
    assert sections(text) == ["training", "record"] and "<audio" not in text


def test_a_training_without_curves_says_so(tmp_path):
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    text, _ = written([tmp_path / "run"], tmp_path)
    assert "holds no TensorBoard files" in text and "plotly" not in text and charts_of(text) == {}


def test_without_phone_labels(speech_folder, tmp_path):
    folder = make_results(tmp_path / "results", speech_folder, phones=False)
    text, content = written([folder], tmp_path, utterances=1, seconds=1.0)
    assert "Without phone labels" in text and content["heat_maps"] == [] and content["codebook"] is not None
    assert [strip.model for strip in content["utterances"][0].strips] == [0, 1]


def test_missing_audio_leaves_the_browser_out(speech_folder, tmp_path):
    folder = make_results(tmp_path / "results", speech_folder)
    rows = (folder / "data.tsv").read_text().splitlines()
    (folder / "data.tsv").write_text("\n".join(["/nowhere", *rows[1:]]) + "\n")
    text, content = written([folder], tmp_path, utterances=2)
    assert (
        "there is nothing to hear" in text
        and "/nowhere" in text
        and "<audio" not in text
        and "utterances" in sections(text)
    )
    (folder / "data.tsv").unlink()
    assert "has no data.tsv" in written([folder], tmp_path, utterances=2)[0]


def test_failed_models_and_unfinished_results_are_shown(speech_folder, tmp_path):
    def change(content):
        content["finished"] = False
        content["models"][0].update(metrics={}, errors={"units": "the checkpoint is cut off"}, units=None, counts=None)
        content["models"][1]["metrics"]["phones"]["pnmi"] = metric(None, reason="all frames have the same phone")
        content["models"][1]["metrics"]["phones"]["phone_purity"] = None
        content["layers"] = content["paired"] = None

    text, _ = written([make_results(tmp_path / "results", speech_folder, change=change)], tmp_path)
    assert "the checkpoint is cut off" in text and "not finished" in text and "all frames have the same phone" in text
    assert "layers" not in sections(text)


def test_several_of_each_are_laid_over_each_other(run_folder, results_folder, speech_folder, tmp_path):
    second_run = make_run(tmp_path / "other" / "first")
    second = make_results(tmp_path / "more" / "evaluation", speech_folder)
    text, content = written([run_folder, second_run, results_folder, second], tmp_path)
    labels = [model.label for model in content["models"]]
    assert len(set(labels)) == 4 and all(label.startswith(("spin (", "base (")) for label in labels)
    assert len({run.name for run in content["runs"]}) == 2
    pnmi = next(row for group in content["groups"] for row in group.rows if row.key == "pnmi")
    assert len(pnmi.cells) == 4 and len(content["heat_maps"]) == 4
    same = written([run_folder, run_folder], tmp_path)[1]
    assert len({run.name for run in same["runs"]}) == 2


def test_a_folder_may_be_both(run_folder, speech_folder, tmp_path):
    both = make_run(tmp_path / "both")
    make_results(both, speech_folder)
    runs, results = read_sources([both])
    assert len(runs) == len(results) == 1


def test_nothing_from_files_is_markup(speech_folder, tmp_path):
    def change(content):
        content.update(command=HOSTILE, versions={HOSTILE: HOSTILE})
        content["data"]["manifests"] = [HOSTILE]
        content["layers"][0]["features"] = HOSTILE
        for model in content["models"]:
            model.update(dict.fromkeys(("name", "spec", "features", "note"), HOSTILE), errors={HOSTILE: HOSTILE})
            model["metrics"][HOSTILE] = {HOSTILE: metric(0.5), "x": metric(None, reason=HOSTILE)}
        content["paired"][0].update(metric=HOSTILE, a=HOSTILE, b=HOSTILE)

    results = make_results(tmp_path / "results", speech_folder, change=change)
    labels = (results / "phones.tsv").read_text().replace("AA", "<i>&A")
    (results / "phones.tsv").write_text(labels)
    run = make_run(tmp_path / "<img src=x>", validation="<b>dev")
    config = run / ".hydra" / "config.yaml"
    config.write_text(config.read_text() + f"odd: {json.dumps(HOSTILE)}\n")
    text, _ = written([results, run], tmp_path, utterances=1, seconds=1.0, title=HOSTILE, command=HOSTILE)
    assert "<img src=x" not in text and "<b>dev" not in text and "<i>&A" not in text
    assert text.count("</script>") == 2  # the data's and the page's own; plotly's is cut out above
    assert text.count("<img ") == 2  # the spectrograms
    for chart in charts_of(text).values():
        for trace in chart["traces"]:  # plotly reads a little HTML
            assert "<" not in trace.get("name", "") and not any("<" in str(name) for name in trace.get("y", []))


@pytest.mark.parametrize(
    "make", [lambda folder: None, lambda folder: folder.mkdir(), lambda folder: folder.write_text("x")]
)
def test_other_folders_are_refused(tmp_path, make):
    make(tmp_path / "here")
    with pytest.raises(ConfigError, match="here: (no such folder|neither)"):
        write_report([tmp_path / "here"], tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()


def test_a_failure_leaves_the_old_page(results_folder, tmp_path, monkeypatch):
    out = tmp_path / "report.html"
    out.write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(ConfigError, match="report.html: cannot be written: disk full"):
        write_report([results_folder], out, utterances=0)
    assert out.read_text() == "old" and list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
def test_importing_it_is_light():
    code = """import sys, spin_fairseq
before = set(sys.modules)
import spin_fairseq.report.page
print(sorted({name.split(".")[0] for name in set(sys.modules) - before} & {"plotly", "tensorboard", "matplotlib", "jinja2"}))"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_command(results_folder, run_folder, tmp_path, capsys):
    out = tmp_path / "a.html"
    assert (
        spin_fairseq("report", run_folder, results_folder, "--out", out, "--utterances", 0, "--title", "My units") == 0
    )
    assert "2 models, 1 trainings, 0 utterances" in capsys.readouterr().out
    text = (tmp_path / "a.html").read_text()
    assert "<title>My units</title>" in text and "spin-fairseq report" in text


@pytest.mark.parametrize(
    "options, words, status",
    [(["--seconds", "0"], "--seconds", 2), (["--utterances", "-1"], "--utterances", 2), ([], "no such folder", 1)],
)
def test_errors_are_one_line(tmp_path, options, words, status, capsys):
    assert spin_fairseq("report", tmp_path / "none", "--out", tmp_path / "a.html", *options) == status
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1


def test_the_template_takes_every_chart(results_folder, tmp_path):
    """A chart that the page forgets would be data without a place."""
    text, _ = written([results_folder], tmp_path)
    assert set(charts_of(text)) == set(re.findall(r'data-chart="([\w-]+)"', text))
    assert page.VOICE >= 0


def test_every_class_of_the_style_sheet_is_in_the_page(run_folder, results_folder, tmp_path):
    """Guards against a class that is renamed in the templates alone: headings lost their place beside the triangle that folds them."""
    text, _ = written([run_folder, results_folder], tmp_path, utterances=2, seconds=1.0)
    css = re.sub(r"/\*.*?\*/", "", text[text.index("<style>") + 7 : text.index("</style>")], flags=re.S)
    styled = {name for rule in re.findall(r"([^{}]*)\{", css) for name in re.findall(r"\.([a-z][\w-]*)", rule)}
    rest = text.replace(text[text.index("<style>") : text.index("</style>")], "")
    there = {name for names in re.findall(r'class="([^"]*)"', rest) for name in names.split()}
    by_data = {"problem", "shade1", "shade-1", "grey"}  # of failures, and of units that are rare
    by_script = set(re.findall(r'classList\.\w+\("([\w-]+)"', rest))
    assert "group" in there and styled - there - by_data - by_script == set()


def test_a_failed_evaluation_says_what_failed_and_what_to_do(tmp_path, speech_folder, capsys, caplog):
    """The page was empty, or there was no such folder, and nothing said why."""

    def nothing(content):
        content["finished"] = False
        content["models"] = []

    results = make_results(tmp_path / "stopped", speech_folder, change=nothing)
    out = tmp_path / "a.html"
    assert spin_fairseq("report", results, "--out", out) == 1 and not out.exists()
    error = capsys.readouterr().err
    assert "stopped: the evaluation has measured nothing yet" in error
    assert error.endswith("give its command again: spin-fairseq evaluate\n")

    def all_failed(content):
        for model in content["models"]:
            model.update(metrics={}, errors={"units": f"{model['name']}.pt: no such checkpoint"})

    results = make_results(tmp_path / "failed", speech_folder, change=all_failed)
    assert spin_fairseq("report", results, "--out", out) == 1 and not out.exists()
    error = capsys.readouterr().err
    assert (
        "measured nothing. spin, units: spin.pt: no such checkpoint base, units: base.pt: no such checkpoint" in error
    )
    assert "Mend this: give its command again" in error

    def some_failed(content):
        content["models"][0]["errors"] = {"abx": "fastabx is missing"}

    results = make_results(tmp_path / "partly", speech_folder, change=some_failed)
    assert spin_fairseq("report", results, "--out", out, "--utterances", 0) == 0 and out.exists()
    assert "spin, abx: fastabx is missing" in caplog.text and "the page has the rest" in caplog.text

    def unfinished(content):
        content["finished"] = False

    results = make_results(tmp_path / "half", speech_folder, change=unfinished)
    read_sources([results])
    assert "half: the evaluation is not finished" in caplog.text and "It goes on where it stopped" in caplog.text


def test_an_evaluation_that_wrote_no_results_is_told_from_another_folder(tmp_path):
    (tmp_path / "here" / "parts").mkdir(parents=True)
    with pytest.raises(
        ConfigError, match="an evaluation began here and wrote no results.json: .* evaluate ... --out .*here"
    ):
        read_sources([tmp_path / "here"])
