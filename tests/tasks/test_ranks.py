"""Several ranks on CPUs, which talk by gloo: each update is that of one rank with the joined batch."""

import os
import re
import shlex
import shutil
import socket
import sysconfig

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from spin_fairseq.speech.manifest import load_manifest
from tests.fairseq_runs import QUALITY, hydra_command, log_of, run, start, validated, weights
from tests.small_hubert import NO_DROPOUT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def four_utterances(speech_folder, tmp_path_factory):
    """As `speech_folder`, with four training utterances of different length: an epoch is one update."""
    folder = tmp_path_factory.mktemp("four")
    shutil.copy(speech_folder.data / "dev.tsv", folder)
    lines = (speech_folder.data / "train.tsv").read_text().splitlines(keepends=True)
    (folder / "train.tsv").write_text("".join(lines[:5]))
    assert len(set(load_manifest(folder, "train").sizes.tolist())) == 4
    return type(speech_folder)(folder, speech_folder.phones, speech_folder.phones_of)


@pytest.fixture(scope="module")
def command(four_utterances, make_hubert):
    """command(folder, *overrides) -> a training that keeps its weights after every update."""
    base = make_hubert(**NO_DROPOUT)

    def make(folder, *overrides):
        return hydra_command(
            four_utterances, base, folder, "dataset.validate_interval_updates=1", "optimization.max_update=2",
            "checkpoint.no_epoch_checkpoints=false", "model.freeze=[cnn,1]", "task.perturbation=none", *overrides,
        )  # fmt: skip

    make.base = base
    return make


def run_ranks(number, command, folder):
    """command: rank -> command."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"tcp://localhost:{free.getsockname()[1]}"
    ranks = []
    for rank in range(number):
        overrides = {
            "distributed_world_size": number, "distributed_rank": rank, "distributed_init_method": address,
            "distributed_backend": "gloo", "distributed_no_spawn": "true",
        }  # fmt: skip
        overrides = [f"distributed_training.{key}={value}" for key, value in overrides.items()]
        ranks.append(start(command(rank) + overrides, folder, RANK_LOG=f"_{number}_{rank}"))
    try:
        assert [rank.wait(timeout=300) for rank in ranks] == [0] * number, log_of(folder)[-5000:]
    finally:
        for rank in ranks:
            rank.kill()
    return (folder / f"log_{number}_0").read_text()  # the first rank reports


def assert_alike(folder, other, update):
    """The weights after an update, an update to an epoch."""
    first, second = (weights(path / "checkpoints" / f"checkpoint{update}.pt") for path in (folder, other))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-5, msg=name)


def assert_moved(folder, base, update):
    """An update is much larger than what `assert_alike` allows."""
    before, after = load_encoder(base).state_dict(), weights(folder / "checkpoints" / f"checkpoint{update}.pt")
    assert max((after["encoder." + name] - value).abs().max().item() for name, value in before.items()) > 5e-4


def losses(log):
    return [float(x) for x in re.findall(r"\bepoch 00.*\bloss=([\d.]+)", log)]


def assert_same_reports(one, several, updates=slice(None)):
    """PNMI and purities of each validation are the same to the last digit printed; losses are."""
    for key in QUALITY:
        expected = validated(one, key)[updates]
        assert expected and validated(several, key) == expected, key
    assert losses(several) == pytest.approx(losses(one)[updates], abs=2e-4)


# --- two codebooks, an empty rank, resuming with another number -----------------------------------------------------

TWO_CODEBOOKS = "model.codebook_sizes=[20,12]"


@pytest.fixture(scope="module")
def one_rank(command, tmp_path_factory):
    """Four updates of the joined batch."""
    folder = tmp_path_factory.mktemp("one")
    run(command(folder, TWO_CODEBOOKS, "optimization.max_update=4"), folder)
    assert_moved(folder, command.base, 2)
    return folder


@pytest.fixture(scope="module")
def three_ranks(command, tmp_path_factory):
    """Two updates by three ranks with 0, 1 and 2 workers: two utterances, two, none; in validation four, two, none."""
    folder = tmp_path_factory.mktemp("three")
    sizes = ["dataset.batch_size=2", "dataset.batch_size_valid=4"]
    run_ranks(3, lambda rank: command(folder, TWO_CODEBOOKS, *sizes, f"dataset.num_workers={rank}"), folder)
    return folder


def test_three_ranks_one_of_them_empty(one_rank, three_ranks):
    for update in (1, 2):
        assert_alike(one_rank, three_ranks, update)
    assert_same_reports(log_of(one_rank), (three_ranks / "log_3_0").read_text(), slice(0, 2))


def test_resuming_with_two_ranks_and_then_with_one(command, one_rank, three_ranks, tmp_path):
    shutil.copytree(three_ranks / "checkpoints", tmp_path / "checkpoints")
    options = TWO_CODEBOOKS, "optimization.max_update=3", "dataset.batch_size=3"
    log = run_ranks(2, lambda rank: command(tmp_path, *options, f"dataset.num_workers={1 - rank}"), tmp_path)
    assert "(epoch 3 @ 2 updates)" in log
    assert_alike(one_rank, tmp_path, 3)
    assert_same_reports(log_of(one_rank), log, slice(2, 3))

    run(command(tmp_path, TWO_CODEBOOKS, "optimization.max_update=4"), tmp_path)
    log = (tmp_path / "log").read_text()
    assert "(epoch 4 @ 3 updates)" in log
    assert_alike(one_rank, tmp_path, 4)
    assert_same_reports(log_of(one_rank), log, slice(3, 4))


# --- one codebook, unequal batches, the voice changed, started by torchrun ---------------------------------------------


def torchrun(number, command, folder):
    """The command of examples/librispeech/README.md for ranks on CPUs; $RANK is each rank's own."""
    training = {
        "distributed_world_size": number, "distributed_rank": "$RANK", "distributed_init_method": "env://",
        "distributed_backend": "gloo", "distributed_no_spawn": "true",
    }  # fmt: skip
    line = shlex.join(map(str, command)) + " dataset.num_workers=$RANK"
    line += "".join(f" distributed_training.{key}={value}" for key, value in training.items())
    program = os.path.join(sysconfig.get_path("scripts"), "torchrun")
    return run([program, "--standalone", "--nproc_per_node", number, "--no-python", "bash", "-c", line], folder)


def test_unequal_batches_of_two_ranks(command, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    native = "task.perturbation=native"
    run(command(one, native), one)
    log = torchrun(2, command(two, native, "dataset.batch_size=3"), two)
    assert_moved(one, command.base, 2)
    for update in (1, 2):
        assert_alike(one, two, update)
    assert_same_reports(log_of(one), log)
