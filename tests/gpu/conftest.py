"""Tests of the package on a GPU.

Each takes the device as a parameter. With "cuda" it is marked `gpu`, and skipped where there is none; with "cpu" it runs
everywhere, with a small model and what precisions a CPU has, so that the tests themselves are tried.
"""

import contextlib
import warnings

import pytest
import torch

from measuring.fairseq_trainer import make_trainer
from tests.fairseq_runs import skip_with_hydra_1_0
from tests.small_hubert import BASE_SIZE, NO_DROPOUT, fairseq_hubert
from tests.small_wavlm import BASE_WAVLM, save_microsoft_wavlm

PRECISIONS = {
    "float32": ["common.fp16=false"],
    "fp16": ["common.fp16=true"],
    "amp": ["common.fp16=false", "common.amp=true"],
    "bf16": ["common.fp16=false", "common.bf16=true"],
}
ON_CPU = ("float32", "bf16")  # fairseq's fp16 and amp need a GPU


def pytest_generate_tests(metafunc):
    """device: cpu and cuda; with `precision` beside it, the precisions in which fairseq trains there."""
    cuda = pytest.mark.gpu
    if "precision" in metafunc.fixturenames:
        cases = [("cpu", each) for each in ON_CPU] + [pytest.param("cuda", each, marks=cuda) for each in PRECISIONS]
        metafunc.parametrize("device, precision", cases)
    elif "device" in metafunc.fixturenames:
        metafunc.parametrize("device", ["cpu", pytest.param("cuda", marks=cuda)])


@pytest.fixture(scope="session")
def make_base(tmp_path_factory):
    """make_base(kind, device) -> path of a checkpoint with random weights and no dropout: of Base size for a GPU."""
    made = {}

    def make(kind, device):
        if (kind, device) not in made:
            path = made[kind, device] = tmp_path_factory.mktemp("base") / f"{kind}.pt"
            if kind == "wavlm":
                save_microsoft_wavlm(path, **NO_DROPOUT, **(BASE_WAVLM if device == "cuda" else {}))
            else:
                torch.save(fairseq_hubert(**NO_DROPOUT, **(BASE_SIZE if device == "cuda" else {}))[1], path)
        return made[kind, device]

    return make


@pytest.fixture
def trainer_of(speech_folder, make_base, tmp_path):
    """trainer_of(device, precision, *overrides, kind="hubert") -> fairseq's trainer of that kind's recipe."""
    skip_with_hydra_1_0()

    def make(device, precision, *overrides, kind="hubert", size=None):
        layers = {"cpu": "1..2", "cuda": "1..10"}[size or device]
        common = [
            *PRECISIONS[precision],
            f"common.cpu={str(device == 'cpu').lower()}",
            f"checkpoint.save_dir={tmp_path}",
        ]
        return make_trainer([
            *common, f"task.data={speech_folder.data}", f"task.phones={speech_folder.phones}", "task.min_sample_size=800",
            f"model.checkpoint={make_base(kind, size or device)}", f"model.freeze=[cnn,pos,{layers}]",
            "model.head_dims=[16]", "model.codebook_sizes=[20]", "dataset.batch_size=4", "dataset.num_workers=0",
            "lr_scheduler.warmup_updates=0", *overrides,
        ], f"spin_{kind}_base")  # fmt: skip

    return make


@contextlib.contextmanager
def counted_waits(device, mode="warn"):
    """-> a list that holds a warning for each time that the host waits for the GPU inside; mode "error" raises instead."""
    waits = []
    if device == "cpu":
        yield waits
        return
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode(mode)
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode("default")
            waits += [each for each in caught if "synchroniz" in str(each.message)]
