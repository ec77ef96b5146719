import gc
import logging
import multiprocessing
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from fairseq.logging import metrics

from spin_fairseq.speech.audio import audio_info
from spin_fairseq.speech.manifest import write_manifest
from spin_fairseq.errors import AudioError, ConfigError, ManifestError, PhoneLabelError, SpeakerPitchError
from spin_fairseq.evaluation.clusters import align, cluster_quality
from tests.small_task import batch_of, recipe_criterion, small_model, small_task

CONFIGS = Path(__file__).parents[2] / "config"


def valid_logs(task, model, batches):
    criterion = recipe_criterion(task).eval()
    return criterion, [task.valid_step(batch_of(task, "dev", batch), model, criterion)[2] for batch in batches]


def reduced(task, criterion, logs):
    """As after the validation of a split: each batch reduced in turn. -> what fairseq would print."""
    with metrics.aggregate(new_root=True) as aggregator:
        for log in logs:
            task.reduce_metrics(log if isinstance(log, list) else [log], criterion)
    return aggregator.get_smoothed_values()


def exact_quality(task, model):
    """Utterance by utterance, without padding."""
    dataset = task.dataset("dev")
    phones, units = [], []
    for index in range(len(dataset)):
        item = dataset[index]
        (row,) = model.extract_units(torch.from_numpy(item["views"][0])[None])
        phone, unit = align(item["phones"], row.numpy(), model.encoder.frame_seconds)
        phones += phone.tolist()
        units += unit.tolist()
    return cluster_quality(phones, units)


@pytest.fixture
def model(small_hubert):
    torch.manual_seed(0)
    return small_model(small_hubert, codebook_sizes=[30]).eval()


@pytest.mark.parametrize("batches", [[[0], [1], [2], [3], [4], [5]], [[0, 1, 2, 3, 4, 5]], [[5, 0, 3], [1, 4], [2]]])
@torch.no_grad()
def test_quality_of_the_split_does_not_depend_on_the_batches(speech_folder, model, batches):
    task = small_task(speech_folder)
    task.load_dataset("dev")
    task.begin_valid_epoch(1, model)
    values = reduced(task, *valid_logs(task, model, batches))
    expected = exact_quality(task, model)
    assert 0 < expected["pnmi"] < 1
    for key in expected:
        assert values[key] == pytest.approx(expected[key], abs=5.1e-5)  # fairseq rounds to 4 digits


@torch.no_grad()
def test_quality_over_ranks_and_again_in_the_next_epoch(speech_folder, model):
    task = small_task(speech_folder)
    task.load_dataset("dev")
    criterion, logs = valid_logs(task, model, [[0, 1], [2, 3], [4, 5]])
    assert not criterion.logging_outputs_can_be_summed()
    values = []
    for _ in range(2):
        task.begin_valid_epoch(1, model)
        values.append(reduced(task, criterion, [logs[:2], logs[2:]]))
    assert values[0]["pnmi"] == values[1]["pnmi"] and values[0]["loss"] == values[1]["loss"]
    assert values[0]["pnmi"] == pytest.approx(exact_quality(task, model)["pnmi"], abs=5.1e-5)


@torch.no_grad()
def test_several_validation_subsets_are_kept_apart(speech_folder, model, tmp_path):
    for source in (speech_folder.data, speech_folder.phones):
        for split in ("dev", "dev-other"):
            (tmp_path / source.name).mkdir(exist_ok=True)
            shutil.copy(source / "dev.tsv", tmp_path / source.name / f"{split}.tsv")
    task = small_task(type(speech_folder)(tmp_path / speech_folder.data.name, tmp_path / "phones", {}))
    task.load_dataset("dev")
    task.load_dataset("dev-other")
    criterion, logs = valid_logs(task, model, [[0, 1, 2, 3, 4, 5]])
    alone = reduced(task, criterion, logs)
    task.begin_valid_epoch(1, model)
    other = {**logs[0], "split": "dev-other", "pairs": (np.arange(30), np.full(30, 100))}
    reduced(task, criterion, [other])
    assert reduced(task, criterion, logs) == alone


@torch.no_grad()
def test_no_phone_labels(speech_folder, model, caplog):
    task = small_task(speech_folder, phones=None)
    with caplog.at_level(logging.INFO):
        task.load_dataset("dev")
    assert [m for m in caplog.messages if "phones" in m] == [
        "task.phones is not set: validation on 'dev' reports no PNMI"
    ]
    values = reduced(task, *valid_logs(task, model, [[0, 1, 2]]))
    assert "pnmi" not in values and np.isfinite(values["loss"])


@torch.no_grad()
def test_a_validation_batch_of_bad_utterances_alone(speech_folder, model):
    task = small_task(speech_folder, max_bad_share=0.5)
    task.load_dataset("dev")
    dataset = task.dataset("dev")
    criterion = recipe_criterion(task).eval()
    bad = dataset.collater([{"index": 0, "error": "a.flac: is empty"}])
    _, frames, log = task.valid_step(bad, model, criterion)
    assert frames == 0 and "pairs" not in log
    _, logs = valid_logs(task, model, [[1, 2]])
    assert reduced(task, criterion, [log, *logs])["loss"] == reduced(task, criterion, logs)["loss"]


# --- configuration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"perturb_on": "gpu"}, ConfigError, "task.perturb_on is 'gpu'"),
        ({"perturb_on": "device"}, ConfigError, "task.perturb_on is 'device': none runs in a worker"),
        (
            {"perturbation_strength": 0},
            ConfigError,
            "task.perturbation_strength is 0: it must be above 0 and at most 1",
        ),
        ({"perturbation_strength": 1.5}, ConfigError, "task.perturbation_strength is 1.5"),
        ({"voice_draw": "all"}, ConfigError, "task.voice_draw is 'all'"),
        ({"voice_draw": "corpus"}, ConfigError, "task.voice_draw is corpus: it needs the table"),
        ({"pitch_marks": "marks"}, ConfigError, "task.pitch_marks is set"),
        ({"min_sample_size": 0}, ConfigError, "task.min_sample_size=0.*at least 800"),
        ({"min_sample_size": 40000}, ConfigError, "task.min_sample_size=40000 and max_sample_size=32000"),
        ({"sample_rate": 8000}, ConfigError, "task.sample_rate and task.normalize are fixed"),
        ({"normalize": True}, ConfigError, "task.sample_rate and task.normalize are fixed"),
        ({"perturbation": "fast"}, ConfigError, "task.perturbation is 'fast': choose one of"),
        ({"data": "nowhere"}, ManifestError, "nowhere: no such folder; task.data"),
        ({"speaker_pitch": "nowhere.tsv"}, SpeakerPitchError, "nowhere.tsv: cannot be read"),
        ({"phones": "nowhere"}, PhoneLabelError, "nowhere/dev.tsv: no such file"),
    ],
)
def test_bad_values(speech_folder, options, error, message):
    with pytest.raises(error, match=message):
        task = small_task(speech_folder, **options)
        task.load_dataset("dev")


def test_an_unknown_speaker_is_noticed_before_training(speech_folder, tmp_path):
    (tmp_path / "pitch.tsv").write_text("19\t80\t200\n26\t90\t210\n84\t100\t300\n")
    task = small_task(speech_folder, speaker_pitch=str(tmp_path / "pitch.tsv"))
    with pytest.raises(SpeakerPitchError, match="no speaker '116' among its 3"):
        task.load_dataset("train")


def test_missing_phone_labels_are_noticed_before_training(speech_folder, tmp_path):
    rows = (speech_folder.phones / "dev.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "dev.tsv").write_text("".join(rows[:2] + rows[3:]))
    task = small_task(speech_folder, phones=str(tmp_path))
    with pytest.raises(PhoneLabelError, match=f"no labels for 1 of the 6 utterances of 'dev', such as {rows[2][:5]}"):
        task.load_dataset("dev")


def test_relative_paths_are_relative_to_the_launch_folder(speech_folder):
    task = small_task(
        speech_folder, data="../" + speech_folder.data.name, phones="phones", launch_dir=str(speech_folder.data)
    )
    task.load_dataset("dev")
    assert len(task.dataset("dev")) == 6


def test_training_uses_the_drop_rule_and_validation_does_not(speech_folder):
    task = small_task(speech_folder, min_sample_size=25000, max_sample_size=26000)
    for split in ("train", "dev"):
        task.load_dataset(split)
    assert task.dataset("train").manifest.sizes.min() >= 25000 and task.dataset("train").sizes.max() == 26000
    assert len(task.dataset("dev")) == 6 and task.dataset("dev").sizes.min() < 25000
    assert task.dataset("dev").phones is not None and task.dataset("train").phones is None


def test_data_workers_stay_for_all_epochs(speech_folder):
    """Each epoch has batches, crops and voices of its own, though its workers were started in the first."""

    def epochs(num_workers):
        task = small_task(speech_folder)
        task.load_dataset("train")
        found, children = [], []
        for epoch in (1, 2, 3):
            iterator = task.get_batch_iterator(
                task.dataset("train"),
                max_tokens=60000,
                seed=1,
                epoch=epoch,
                num_workers=num_workers,
                data_buffer_size=2,
            )
            found.append([(batch["id"].tolist(), batch["net_input"]["source"]) for batch in iterator.next_epoch_itr()])
            children.append(set(multiprocessing.active_children()) - before)
        return found, children

    gc.collect()
    before = set(multiprocessing.active_children())
    expected, _ = epochs(0)
    found, children = epochs(2)
    assert len(children[0]) == 2 and children[0] == children[1] == children[2]
    for epoch, expected_epoch in zip(found, expected):
        assert [ids for ids, _ in epoch] == [ids for ids, _ in expected_epoch]
        assert all(torch.equal(source, other) for (_, source), (_, other) in zip(epoch, expected_epoch))
    assert not torch.equal(found[0][0][1][:, :8000], found[1][0][1][:, :8000])
    began = time.monotonic()
    gc.collect()
    while set(multiprocessing.active_children()) - before:  # waited for, the two would take 5 s each
        assert time.monotonic() - began < 9
        time.sleep(0.05)
        gc.collect()  # a thread that reads ahead may have held the loader


# --- training steps ---------------------------------------------------------------------------------------------


class Backward:
    @staticmethod
    def backward(loss):
        loss.backward()


def test_a_small_batch_is_warned_of_once(speech_folder, small_hubert, caplog):
    task = small_task(speech_folder)
    task.load_dataset("train")
    sample = batch_of(task, "train", [0])
    for size, warnings in ((300, 1), (4, 0)):
        task._warned_of_small_batch = False
        caplog.clear()
        model, criterion = small_model(small_hubert, codebook_sizes=[4, size]).train(), recipe_criterion(task).train()
        for update in range(2):
            task.train_step(sample, model, criterion, Backward, update)
        found = [m for m in caplog.messages if re.search(rf"a batch of \d+ frames on this rank for {size} ", m)]
        assert len(found) == warnings


def test_bad_utterances_of_training_stop_the_run(speech_folder, small_hubert, tmp_path):
    audio = speech_folder.data / "audio"
    samples = audio_info(audio / "19/19-train-0000.wav")[0]
    rows = [("19/19-train-0000.wav", samples)] * 3 + [("19/gone.wav", samples)]
    write_manifest(tmp_path / "train.tsv", audio, rows)
    speech = type(speech_folder)(tmp_path, speech_folder.phones, {})
    model = small_model(small_hubert).train()
    for share, stops in ((0.25, False), (0.24, True)):
        task = small_task(speech, max_bad_share=share)
        task.load_dataset("train")
        sample = batch_of(task, "train", range(4))
        criterion = recipe_criterion(task).train()
        _, frames, log = task.train_step(sample, model, criterion, Backward, 0)
        assert frames > 0 and log["skipped"] == 1
        if stops:
            with pytest.raises(
                AudioError, match="1 of the 4 utterances of split 'train'[\\s\\S]*gone.wav: no such file"
            ):
                reduced(task, criterion, [log])
        else:
            reduced(task, criterion, [log])
            again = task.train_step(sample, model, criterion, Backward, 1)[2]
            assert again["skipped"] == 0  # the same one
            task.begin_epoch(2, model)
            assert task.train_step(sample, model, criterion, Backward, 2)[2]["skipped"] == 1


def test_a_filler_batch_takes_no_part(speech_folder, small_hubert):
    task = small_task(speech_folder)
    task.load_dataset("train")
    model = small_model(small_hubert).train()
    sample = batch_of(task, "train", [0])
    loss, frames, _ = task.train_step(sample, model, recipe_criterion(task).train(), Backward, 0, ignore_grad=True)
    assert (loss.item(), frames) == (0.0, 0)
    assert not any(p.grad is not None and p.grad.any() for p in model.parameters())


# --- the configurations that come with the package ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["spin_hubert_base", "spin_demo"])
def test_configurations_hold_known_keys_with_the_recipes_values(name):
    from spin_fairseq.criterions.swapped_prediction import SwappedPredictionConfig
    from spin_fairseq.models.spin import SpinConfig
    from spin_fairseq.tasks.spin import SpinTaskConfig

    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    for part, known in (("task", SpinTaskConfig), ("model", SpinConfig), ("criterion", SwappedPredictionConfig)):
        unknown = set(config[part]) - {"_name"} - set(known.__dataclass_fields__)
        assert not unknown, f"{name}.yaml, {part}: {unknown}"
    criterion = {key: value for key, value in config["criterion"].items() if key != "_name"}
    if name != "spin_demo":  # which is small, and has an epsilon of its own
        assert criterion == {
            "epsilon": 0.02,
            "sinkhorn_iterations": 3,
            "temperature": 0.1,
            "target_mix": 1.0,
            "hard_targets": False,
            "codebook_weights": None,  # these two are for DC-Spin and R-Spin
            "pieces_weight": 5.0,
        }
    assert config["dataset"]["max_tokens"] >= config["task"]["max_sample_size"]


def test_counts_of_a_validation_batch_fit_what_ranks_exchange():
    config = yaml.safe_load((CONFIGS / "spin_hubert_base.yaml").read_text())
    labels = config["dataset"]["max_tokens"] // 160
    pairs = np.arange(labels), np.ones(labels, np.int64)  # at worst each label makes a pair of its own
    size = sum(array.astype(np.int64).nbytes for array in pairs)
    assert size + 4096 < config["common"]["all_gather_list_size"]


# --- collapse ---------------------------------------------------------------------------------------------------


def test_a_collapse_of_a_codebook_is_warned_of_by_name(speech_folder, small_hubert, caplog):
    task = small_task(speech_folder, collapse_share=0.5, collapse_updates=2)
    task.load_dataset("train")
    sample = batch_of(task, "train", [0, 1])
    model, criterion = small_model(small_hubert, codebook_sizes=[4, 12]).train(), recipe_criterion(task).train()
    with torch.no_grad():
        model.head.prototypes[1][1:] = -model.head.prototypes[1][0]  # two directions for twelve prototypes
    for update in range(2):
        assert "collapse" not in caplog.text
        log = task.train_step(sample, model, criterion, Backward, update)[2]
        assert log["code_ppl_1"] / log["sample_size"] <= 2
        reduced(task, criterion, [log])
    (warning,) = [message for message in caplog.messages if message.startswith("collapse")]
    assert re.match(
        r"collapse: code_ppl_1 .* for 2 updates, less than task.collapse_share=0.5 of 12 prototypes", warning
    )
    assert "criterion.epsilon" in warning and "optimization.lr" in warning


def test_utterances_of_an_update_are_named(speech_folder):
    task = small_task(speech_folder)
    task.load_dataset("train")
    filler = task.dataset("train").collater([{"index": 3, "error": "a.flac: is empty"}])
    assert task.name_utterances([batch_of(task, "train", [2, 0]), {}, filler]) == ["84-train-0002", "19-train-0000"]
