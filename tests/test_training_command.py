"""The training's command line: any path, through the shell and hydra's own parser, and back."""

import shlex

import pytest
import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, example, given
from hypothesis import strategies as st

from spin_fairseq.errors import ConfigError
from spin_fairseq.training_command import (
    check_checkpoint,
    config_folder,
    cpu_overrides,
    quote_override,
    quote_paths,
    shell_line,
    small_overrides,
    training_command,
)

PARSER = OverridesParser.create()
AWKWARD = "/äöü ß=#,;'\"\\[]{}()&~@|!?*%$:<>`\t\n-+.é漢😀"
PATHS = st.text(
    st.one_of(st.sampled_from(AWKWARD), st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
)


def is_settable(path):
    return "${" not in path and path != "???" and not (hydra.__version__.startswith("1.0.") and "\\" in path)


def parsed(argument):
    """(key, value) by hydra's own parser."""
    override = PARSER.parse_override(argument)
    assert not override.is_sweep_override()
    return override.key_or_group, override.value()


@given(PATHS.filter(is_settable))
@example("/a=b#1/Größe, [neu] {x}(2)")
@example("it's")
@example('"it\'s"\\')
@example("\\'\"")
@example("a\\\n")
@example("null")
@example("1e3")
def test_hydra_gives_back_the_same_path(path):
    """Guards against paths that hydra refuses, cuts, or takes for a list or a number."""
    assume(is_settable(path))  # hydra 1.0 doubles a backslash before a quote
    assert parsed(quote_override("task.data", path)) == ("task.data", path)


@given(PATHS.filter(is_settable))
def test_the_printed_line_is_the_command(path):
    """Guards against a printed line that a shell takes for something else."""
    command = training_command("spin_demo", ["optimization.lr=[0.1]"], {"task.data": path, "task.phones": None})
    assert shlex.split(shell_line(command)) == command
    data = [argument for argument in command if argument.startswith("task.")]
    assert parsed(*data) == ("task.data", path)


@pytest.mark.parametrize("path", ["a/${b}", "???"])
def test_what_hydra_would_replace_is_refused(path):
    with pytest.raises(ConfigError, match="task.data.*rename"):
        quote_override("task.data", path)


@pytest.mark.parametrize(
    "typed, sent",
    [
        ("task.data=/a=b", "task.data='/a=b'"),
        ("+checkpoint.continue_once=ü.pt", "+checkpoint.continue_once='ü.pt'"),
        ("task.data='/a=b'", "task.data='/a=b'"),
        ('task.data="/a=b"', 'task.data="/a=b"'),
        ("task.phones=null", "task.phones=null"),
        ("task.data=${hydra:runtime.cwd}/data", "task.data=${hydra:runtime.cwd}/data"),
        ("optimization.lr=[0.1,0.2]", "optimization.lr=[0.1,0.2]"),
        ("~task.data", "~task.data"),
    ],
)
def test_what_is_typed_is_quoted_where_it_is_a_path(typed, sent):
    """Guards against quoting twice, and against lists and `null` turned into strings."""
    assert quote_paths([typed]) == [sent]


def test_the_command():
    command = training_command("spin_demo.yaml", ["common.seed=3"], {"task.data": "a b", "model.checkpoint": None})
    assert command[0].endswith("fairseq-hydra-train")
    assert command[-6:-3] == [str(config_folder()), "--config-name", "spin_demo"]
    assert command[-3].startswith("common.user_dir='") and command[-2:] == ["task.data='a b'", "common.seed=3"]


def test_an_unknown_configuration_names_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="'spin_hubert'.*spin_demo, spin_hubert_base, spin_wavlm_base"):
        training_command("spin_hubert")
    with pytest.raises(ConfigError, match="choose one of these: none"):
        training_command("spin_hubert", config_dir=tmp_path)


def test_a_small_training_gives_way_to_what_is_given():
    """Guards against --small that undoes keys of the user, and against a schedule longer than the training."""
    usual = dict(override.split("=", 1) for override in small_overrides([]))
    assert usual["model.codebook_init"] == "kmeans"
    assert usual["lr_scheduler.total_num_update"] == usual["optimization.max_update"] == "100"
    given = ["criterion.epsilon=0.1", "optimization.max_update=40"]
    changed = dict(override.split("=", 1) for override in small_overrides(given))
    assert not {"criterion.epsilon", "optimization.max_update"} & set(changed)
    schedule = {key: value for key, value in changed.items() if key.startswith("lr_scheduler")}
    assert schedule == {"lr_scheduler.total_num_update": "40", "lr_scheduler.warmup_updates": "4"}
    with pytest.raises(ConfigError, match="optimization.max_update is many"):
        small_overrides(["optimization.max_update=many"])
    for config in ("spin_hubert_base", "spin_wavlm_base", "spin_demo"):  # all keys are there
        assert set(small_overrides([])) <= set(training_command(config, small_overrides([])))


def test_a_machine_without_a_gpu():
    """fairseq ends in a traceback of torch there; with common.cpu alone, in one of half precision."""
    assert cpu_overrides([]) == ["common.cpu=true", "common.fp16=false"]
    assert cpu_overrides(["common.cpu=true", "task.data=common.fp16"]) == ["common.fp16=false"]
    assert cpu_overrides(["common.cpu=false", "+common.fp16=true"]) == []


def test_a_base_that_is_not_there(tmp_path):
    """fairseq prints its whole configuration and a traceback before it says so."""
    (tmp_path / "base.pt").touch()
    for fine in (tmp_path / "base.pt", f"'{tmp_path}/base.pt'", tmp_path, "null", "${oc.env:HOME}/base.pt"):
        check_checkpoint(["task.data=nowhere", f"model.checkpoint={fine}"])
    with pytest.raises(ConfigError, match="model.checkpoint=.*other.pt: no such file.*training.md"):
        check_checkpoint([f"model.checkpoint={tmp_path}/other.pt"])


@pytest.mark.parametrize("gpu", [False, True])
def test_train_chooses_the_cpu_where_there_is_no_gpu(gpu, monkeypatch, capsys):
    pytest.importorskip("fairseq")
    from spin_fairseq.commands import line, train

    monkeypatch.setattr(train, "_has_gpu", lambda: gpu)
    monkeypatch.setattr(train, "_wait_for", lambda command: 0)
    assert line.main(["train", "spin_hubert_base", "task.data=data"]) == 0
    out, err = capsys.readouterr()
    assert (out + err).count("common.cpu=true common.fp16=false") == (
        0 if gpu else 2
    )  # in what is said, and in the command
