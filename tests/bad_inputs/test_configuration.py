"""Values of the configuration that are out of range, contradict each other, or have another type: named by their key.

Types are omegaconf's to refuse, before anything of this package is asked: its message has the key and the value.
"""

import pytest
from fairseq.criterions import build_criterion
from fairseq.dataclass.utils import merge_with_parent
from fairseq.tasks import setup_task
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from spin_fairseq.criterions.swapped_prediction import SwappedPredictionConfig
from spin_fairseq.errors import ConfigError, SpinError
from spin_fairseq.models.spin import SpinConfig
from spin_fairseq.tasks.spin import SpinTaskConfig
from tests.bad_inputs.judging import judge, limited, must_refuse, refused
from tests.small_task import small_model, small_task

KIND = "configuration"
HUGE = 10**12
NOT_WHOLE = ["many", "1.5", "", "1e5", [1], {"a": 1}, "nan", "0x10", "ten"]
NOT_NUMBERS = ["much", "", "0,1", [0.1], {"a": 1}, "0.1.2"]
NOT_BOOLEAN = ["maybe", [True], {"a": True}, "", 0.5]
TYPES = {
    SpinTaskConfig: {
        "perturb_both_views": NOT_BOOLEAN, "normalize": NOT_BOOLEAN, "min_sample_size": NOT_WHOLE,
        "max_sample_size": NOT_WHOLE, "sample_rate": NOT_WHOLE, "seed": NOT_WHOLE, "max_bad_share": NOT_NUMBERS,
        "collapse_share": NOT_NUMBERS, "collapse_updates": NOT_WHOLE, "perturbation_strength": NOT_NUMBERS,
        "noise_probability": NOT_NUMBERS, "reverberation_probability": NOT_NUMBERS,
        "data": [["a"], {"a": 1}], "phones": [["a"], {"a": 1}], "speaker_pitch": [["a"]], "pitch_marks": [["a"]],
        "perturbation": [["praat"], {"a": 1}], "perturb_on": [["device"]], "voice_draw": [["corpus"], {"a": 1}], "train_subset": [["train"]], "unknown": [1],
    },
    SpinConfig: {
        "output_layer": NOT_WHOLE, "frozen_layers_without_dropout": NOT_BOOLEAN, "without_l2_norm": NOT_BOOLEAN,
        "prototypes_as_stored": NOT_BOOLEAN, "checkpoint": [["a"], {"a": 1}], "unknown": [1],
    },
    SwappedPredictionConfig: {
        "epsilon": NOT_NUMBERS, "temperature": NOT_NUMBERS, "sinkhorn_iterations": NOT_WHOLE, "target_mix": NOT_NUMBERS,
        "pieces_weight": NOT_NUMBERS,
        "hard_targets": NOT_BOOLEAN, "unknown": [1],
    },
}  # fmt: skip


@pytest.mark.parametrize("config", TYPES, ids=lambda config: config.__name__)
def test_types(config):
    for key, values in TYPES[config].items():
        for value in values:
            with limited():
                try:
                    taken = merge_with_parent(config(), OmegaConf.create({key: value}))
                except OmegaConfBaseException as error:
                    assert key in str(error)
                else:
                    raise AssertionError(f"{key}={value!r} was taken: {taken}")
            refused[KIND] += 1


NAN, INFINITE = float("nan"), float("inf")
OUT_OF_RANGE = {
    "perturbation": ["loud", "", "Native", "native ", "praat,sox", "None"],
    "perturb_on": ["gpu", "", "cuda", "Worker"],
    "min_sample_size": [-1, 0, 1, 799, -HUGE, 10**9],
    "max_sample_size": [-1, 0, 100, 799],
    "sample_rate": [8000, 0, -16000, 44100],
    "normalize": [True],
    "max_bad_share": [-0.1, 1.1, NAN, INFINITE, -INFINITE],
    "collapse_share": [-0.1, 1.0, 2.0, NAN, INFINITE],
    "collapse_updates": [0, -1],
    "pieces": ["gone", ""],
    "noise": ["gone", "speech-shaped,gone", ["babble", "gone"], "Babble", "/dev/null"],
    "noise_snr": ["", "loud", "5", [1], [10, -10], [NAN, 0], [-INFINITE, 0], [0, 1000], [1, 2, 3]],
    "noise_probability": [-0.1, 1.1, NAN, INFINITE],
    "reverberation": ["gone", "Synthetic", "babble", ["synthetic", "gone"]],
    "reverberation_probability": [-0.1, 1.1, NAN],
    "voice_draw": ["", "Corpus", "speaker", "corpus"],  # the last without a table
    "perturbation_strength": [0.0, -1.0, 1.01, NAN, INFINITE],
    "seed": [-1, -HUGE],
    "pitch_marks": ["gone"],
    "speaker_pitch": ["gone", ""],
    "phones": ["gone", ""],
    "data": ["gone", "/dev/null"],
    "train_subset": ["gone", "", "../train", "/", ".", "train/"],
}


@pytest.mark.parametrize("key, value", [(key, value) for key, values in OUT_OF_RANGE.items() for value in values])
def test_task(speech_folder, tmp_path, key, value):
    def build():
        options = {"launch_dir": str(tmp_path)} if key in ("phones", "speaker_pitch", "data") else {}
        task = small_task(speech_folder, **{**options, "perturbation": "native", key: value})
        task.load_dataset(task.cfg.train_subset)
        task.load_dataset("dev")

    must_refuse(KIND, build, SpinError, folder=tmp_path)
    with limited(), pytest.raises(SpinError) as raised:
        build()
    names = {"data": "task.data", "phones": "task.phones", "speaker_pitch": "task.speaker_pitch"}
    expected = names.get(key, key if key != "train_subset" else str(speech_folder.data))
    judge(str(raised.value), [expected])


@pytest.mark.parametrize(
    "options",
    [
        {"perturb_on": "device", "perturbation": "none"}, {"perturb_on": "device", "perturbation": "sox"},
        {"pitch_marks": "marks", "perturbation": "none"}, {"pitch_marks": "marks", "perturbation": "sox"},
        {"min_sample_size": 5000, "max_sample_size": 4000}, {"min_sample_size": 10**8, "max_sample_size": 10**9},
    ],
)  # fmt: skip
def test_tasks_that_contradict_themselves(speech_folder, options):
    must_refuse(
        KIND, lambda: small_task(speech_folder, **options).load_dataset("train"), SpinError, next(iter(options))
    )


@pytest.mark.parametrize(
    "key, values",
    {
        "output_layer": [0, -1, 4, 12, HUGE],
        "freeze": [
            "4",
            "0",
            "-1",
            "1..9",
            "3..1",
            "cnn;pos",
            "all",
            [["1"]],
            {"a": 1},
            "1...2",
            "cnn pos",
            7,
            "CNN",
            True,
        ],
        "randomize": ["4", "0", "head", "1..9", "pos..1", "x" * 500],
        "head_dims": [
            0,
            -5,
            "",
            "a",
            "16,",
            "16,x",
            [0],
            [],
            [16, 0],
            1.5,
            HUGE,
            [HUGE, HUGE],
            None,
            True,
            "16,-1",
            {"a": 1},
        ],
        "codebook_sizes": [0, 1, -5, "", "a", [1], [], [16, 1], 1.5, HUGE, [16, HUGE], None, True, "nan", {"a": 1}],
        "codebook_init": ["zeros", "", "KMEANS"],
    }.items(),
)
def test_model(small_hubert, key, values):
    for value in values:
        if value in ("16,", {"a": 1}) and key in ("head_dims", "codebook_sizes"):
            continue  # "16," is [16]
        must_refuse(KIND, lambda: small_model(small_hubert, **{key: value}), ConfigError, f"model.{key}")  # noqa: B023


@pytest.mark.parametrize("path", ["gone.pt", "", "/dev/null", "/", ".", "x" * 5000, "a\0b"])
def test_model_without_a_base(path):
    must_refuse(KIND, lambda: small_model(path), SpinError, path)


@pytest.mark.parametrize(
    "key, value",
    [
        (key, value)
        for key, values in {
            "epsilon": [0.0, -0.02, NAN, INFINITE, -INFINITE], "temperature": [0.0, -0.1, NAN, INFINITE],
            "sinkhorn_iterations": [0, -3], "target_mix": [-0.01, 1.01, NAN, INFINITE],
            "pieces_weight": [-1.0, NAN, INFINITE],
        }.items()
        for value in values
    ],
)  # fmt: skip
def test_criterion(speech_folder, key, value):
    config = OmegaConf.create({"_name": "swapped_prediction", key: value})
    task = small_task(speech_folder)
    must_refuse(KIND, lambda: build_criterion(config, task), ConfigError, f"criterion.{key}", str(value))


def test_a_task_without_data():
    with limited(), pytest.raises((SpinError, OmegaConfBaseException), match="data"):
        setup_task(OmegaConf.create({"_name": "spin", "seed": 1, "train_subset": "train"})).load_dataset("train")
    refused[KIND] += 1
