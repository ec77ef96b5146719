"""Whole runs of fairseq's own commands on a small base: training, resuming, several ranks, and what is left behind."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import fairseq
from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.data.audio import read_audio
from spin_fairseq.data.manifest import load_manifest
from tests.small_hubert import NO_DROPOUT

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
HYDRA_TRAIN = [os.path.join(sysconfig.get_path("scripts"), "fairseq-hydra-train")]
TRAIN = [os.path.join(sysconfig.get_path("scripts"), "fairseq-train")]
UPDATES = 6
QUALITY = ("pnmi", "cluster_purity", "phone_purity")


def start(command, folder, **environment):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    folder.mkdir(parents=True, exist_ok=True)
    log = open(folder / f"log{environment.get('RANK_LOG', '')}", "a")
    return subprocess.Popen(
        list(map(str, command)), cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True
    )


def log_of(folder):
    return "".join(path.read_text() for path in sorted(folder.glob("log*")))


def run(command, folder, succeeds=True, **environment):
    """-> what the command printed."""
    code = start(command, folder, **environment).wait(timeout=300)
    assert (code == 0) == succeeds, log_of(folder)[-5000:]
    return log_of(folder)


def validated(log, name):
    """What each validation reported."""
    return [float(x) for x in re.findall(rf"valid on 'dev' subset .*\| {name} ([\d.]+)", log)]


def hydra_command(speech, checkpoint, folder, *overrides):
    """The command of the README, with a small base and few updates."""
    return HYDRA_TRAIN + [
        "--config-dir", REPOSITORY / "config", "--config-name", "spin_hubert_base",
        f"common.user_dir={REPOSITORY / 'spin_fairseq'}", f"task.data={speech.data}", f"model.checkpoint={checkpoint}",
        f"hydra.run.dir={folder}", f"task.phones={speech.phones}", "task.min_sample_size=800",
        "model.freeze=[cnn,pos,1..2]", "model.head_dims=[16]", "model.codebook_sizes=[20]",
        "common.fp16=false", "common.cpu=true", "common.log_interval=1",
        "dataset.max_tokens=272000", "dataset.batch_size=4", "dataset.num_workers=1",
        f"optimization.max_update={UPDATES}", "optimization.lr=[0.001]",
        "lr_scheduler.warmup_updates=2", f"lr_scheduler.total_num_update={UPDATES}",
        "dataset.validate_interval_updates=3", "checkpoint.save_interval_updates=1",
        "checkpoint.best_checkpoint_metric=pnmi", "checkpoint.maximize_best_checkpoint_metric=true",
        *overrides,
    ]  # fmt: skip


def weights(path):
    return torch.load(path, map_location="cpu", weights_only=False)["model"]


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


@pytest.fixture(scope="module")
def trained(speech_folder, small_hubert, tmp_path_factory):
    """The uninterrupted run. -> folder with `log` and `checkpoints`."""
    folder = tmp_path_factory.mktemp("trained")
    run(hydra_command(speech_folder, small_hubert, folder), folder)
    return folder


# --- one run ------------------------------------------------------------------------------------------------------


def test_trains_and_logs(trained, small_hubert):
    log = log_of(trained)
    for name in ("loss", "accuracy", "code_ppl", "prob_ppl"):
        assert re.search(rf"epoch 002:.*\b{name}=[\d.]+,", log), name
    for name in QUALITY:
        found = validated(log, name)
        assert len(found) == UPDATES and all(0 < value < 1 for value in found)
    assert validated(log, "best_pnmi")[-1] == max(validated(log, "pnmi"))
    assert not re.search(r"Traceback|NaN|\bnan\b", log)

    checkpoints = trained / "checkpoints"
    assert {"checkpoint_last.pt", "checkpoint_best.pt"} <= {path.name for path in checkpoints.iterdir()}
    events = list((trained / "tensorboard").rglob("events.out.tfevents.*"))
    assert events and sum(path.stat().st_size for path in events) > 1000

    before, after = load_encoder(small_hubert).state_dict(), weights(checkpoints / "checkpoint_last.pt")
    moved = {name for name, value in before.items() if not torch.equal(value, after["encoder." + name])}
    assert moved == {name for name in before if name.startswith("encoder.layers.2.")}
    assert torch.isfinite(after["head.prototypes.0"]).all()


def test_perturbing_beside_the_model_trains_alike(speech_folder, small_hubert, trained, tmp_path):
    """The same draws, the same marks; waves equal to rounding."""
    run(hydra_command(speech_folder, small_hubert, tmp_path, "task.perturb_on=device"), tmp_path)
    first, second = (weights(folder / "checkpoints" / "checkpoint_last.pt") for folder in (trained, tmp_path))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-3, msg=name)


def test_the_classic_command_line_trains_alike_and_needs_no_phone_labels(speech_folder, small_hubert, trained, tmp_path):
    log = run(
        TRAIN + [
            speech_folder.data, "--user-dir", REPOSITORY / "spin_fairseq", "--task", "spin", "--arch", "spin",
            "--criterion", "swapped_prediction", "--checkpoint", small_hubert,
            "--min-sample-size", 800, "--freeze", "cnn,pos,1..2", "--head-dims", 16,
            "--codebook-sizes", 20, "--seed", 7122, "--cpu", "--log-interval", 1, "--log-format", "simple",
            "--max-tokens", 272000, "--batch-size", 4, "--num-workers", 1, "--required-batch-size-multiple", 1,
            "--train-subset", "train", "--valid-subset", "dev", "--validate-interval-updates", 3,
            "--max-update", UPDATES, "--lr", 0.001, "--clip-norm", 10, "--optimizer", "adam",
            "--adam-betas", "(0.9,0.999)", "--adam-eps", 1e-8, "--weight-decay", 1e-6,
            "--lr-scheduler", "polynomial_decay", "--warmup-updates", 2, "--total-num-update", UPDATES,
            "--end-learning-rate", 1e-6, "--power", 1, "--save-dir", "checkpoints", "--no-epoch-checkpoints",
        ],
        tmp_path,
    )  # fmt: skip
    assert_same_weights(*(weights(folder / "checkpoints" / "checkpoint_last.pt") for folder in (trained, tmp_path)))
    assert log.count("reports no PNMI") == 1 and "pnmi" not in log.replace("reports no PNMI", "")
    assert len(validated(log, "loss")) == 2


# --- resuming -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(speech_folder, small_hubert, tmp_path_factory):
    """A run that was killed after update 4, in the middle of the second of two epochs of three batches."""
    folder = tmp_path_factory.mktemp("killed")
    command = hydra_command(speech_folder, small_hubert, folder, "checkpoint.keep_interval_updates=-1")
    process = start(command, folder)
    middle, deadline = folder / "checkpoints" / "checkpoint_2_4.pt", time.time() + 200
    while not middle.exists() and time.time() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and middle.exists(), log_of(folder)[-3000:]
    shutil.copy(middle, folder / "checkpoints" / "checkpoint_last.pt")  # it may have come a step further, or not
    return folder


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_killed_run_ends_with_the_same_weights(speech_folder, small_hubert, trained, killed, tmp_path, num_workers):
    shutil.copytree(killed / "checkpoints", tmp_path / "checkpoints")
    log = run(
        hydra_command(speech_folder, small_hubert, tmp_path, f"dataset.num_workers={num_workers}"), tmp_path
    )
    assert re.search(r"Loaded checkpoint .*checkpoint_last.pt \(epoch 2 @ 4 updates\)", log)
    assert "num_updates: 4" not in log and len(validated(log, "pnmi")) == 2  # updates 5 and 6 alone
    assert_same_weights(*(weights(folder / "checkpoints" / "checkpoint_last.pt") for folder in (trained, tmp_path)))


# --- several ranks --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def four_utterances(speech_folder, tmp_path_factory):
    """As `speech_folder`, with four training utterances of different length."""
    folder = tmp_path_factory.mktemp("four")
    shutil.copy(speech_folder.data / "dev.tsv", folder)
    lines = (speech_folder.data / "train.tsv").read_text().splitlines(keepends=True)
    (folder / "train.tsv").write_text("".join(lines[:5]))
    assert len(set(load_manifest(folder, "train").sizes.tolist())) == 4
    return type(speech_folder)(folder, speech_folder.phones, speech_folder.phones_of)


def test_two_ranks_make_the_update_of_one_with_the_joined_batch(four_utterances, make_hubert, tmp_path):
    base = make_hubert(**NO_DROPOUT)

    def command(folder, *overrides):
        return hydra_command(
            four_utterances, base, folder, "optimization.max_update=2", "dataset.validate_interval_updates=2",
            "model.freeze=[cnn,1]", "task.perturbation=none", *overrides,
        )  # fmt: skip

    run(command(tmp_path / "one"), tmp_path / "one")

    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"tcp://localhost:{free.getsockname()[1]}"
    ranks = []
    for rank in "01":
        overrides = {
            "distributed_world_size": 2, "distributed_rank": rank, "distributed_init_method": address,
            "distributed_backend": "gloo", "distributed_no_spawn": "true",
        }  # fmt: skip
        overrides = [f"distributed_training.{key}={value}" for key, value in overrides.items()]
        ranks.append(start(command(tmp_path / "two", "dataset.batch_size=2", *overrides), tmp_path / "two", RANK_LOG=rank))
    try:
        assert [rank.wait(timeout=300) for rank in ranks] == [0, 0], log_of(tmp_path / "two")[-5000:]
    finally:
        for rank in ranks:
            rank.kill()

    one, two = (weights(tmp_path / name / "checkpoints" / "checkpoint_last.pt") for name in ("one", "two"))
    start_weights = load_encoder(base).state_dict()
    moved = max((one["encoder." + name] - value).abs().max().item() for name, value in start_weights.items())
    assert moved > 5e-4  # the update is much larger than what is allowed as difference
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-5)

    # Each validation is reported by the first rank, over the utterances of both.
    logs = [log_of(tmp_path / "one"), (tmp_path / "two" / "log0").read_text()]
    for key in QUALITY:
        first, second = (validated(log, key) for log in logs)
        assert first == second and first
    losses = [[float(x) for x in re.findall(r"\bepoch 00.*\bloss=([\d.]+)", log)] for log in logs]
    assert len(losses[0]) == 2 and losses[1] == pytest.approx(losses[0], abs=2e-4)


# --- what a run leaves behind -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def orphan(trained, tmp_path_factory):
    """The checkpoint, with every path in it pointing to nothing."""
    state = torch.load(trained / "checkpoints" / "checkpoint_last.pt", map_location="cpu", weights_only=False)
    state["cfg"]["model"]["checkpoint"] = "/gone/hubert.pt"
    for key in ("data", "phones", "launch_dir"):
        state["cfg"]["task"][key] = "/gone"
    path = tmp_path_factory.mktemp("orphan") / "spin.pt"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def recording(speech_folder):
    return torch.from_numpy(read_audio(load_manifest(speech_folder.data, "dev").path(0)))[None]


@torch.no_grad()
def test_the_checkpoint_stands_alone(orphan, recording):
    (model,), _, task = fairseq.checkpoint_utils.load_model_ensemble_and_task([str(orphan)])
    model.eval()
    ours = load_spin(orphan)
    units = ours.extract_units(recording)
    assert torch.equal(model.extract_units(recording), units) and len(units.unique()) > 1
    assert_same_weights(model.state_dict(), ours.state_dict())
    assert task.cfg._name == "spin" and not ours.training


@torch.no_grad()
def test_fairseqs_dump_script_takes_it(speech_folder, orphan, tmp_path):
    """The script runs as it is, except that `.cuda()` stays on the CPU and two modules it imports have stand-ins."""
    script = Path(fairseq.__file__).parent / "examples/hubert/simple_kmeans/dump_hubert_feature.py"
    launcher = tmp_path / "launcher.py"
    launcher.write_text(
        "import runpy, sys\n"
        f"sys.path[:0] = [{str(REPOSITORY)!r}, {str(script.parent)!r}]\n"
        "import numpy, spin_fairseq, torch, types\n"
        "class NpyAppendArray:\n"
        "    def __init__(self, path): self.path, self.rows = path, []\n"
        "    def append(self, rows): self.rows.append(rows); numpy.save(self.path, numpy.concatenate(self.rows))\n"
        "sys.modules['npy_append_array'] = types.SimpleNamespace(NpyAppendArray=NpyAppendArray)\n"
        "effects = sys.modules['torchaudio.sox_effects'] = types.ModuleType('torchaudio.sox_effects')\n"
        "sys.modules['torchaudio'] = types.SimpleNamespace(sox_effects=effects, __spec__=None)\n"
        "torch.Tensor.cuda = torch.nn.Module.cuda = lambda self: self\n"
        f"sys.argv[0] = {str(script)!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    run([sys.executable, launcher, speech_folder.data, "dev", orphan, 2, 1, 0, tmp_path], tmp_path)
    dumped = np.load(tmp_path / "dev_0_1.npy")
    lengths = [int(line) for line in (tmp_path / "dev_0_1.len").read_text().split()]
    manifest, model = load_manifest(speech_folder.data, "dev"), load_spin(orphan)
    waves = [torch.from_numpy(read_audio(manifest.path(i)))[None] for i in range(len(manifest))]
    features = [model.extract_features(wave, output_layer=2)[0][0] for wave in waves]
    assert lengths == [len(rows) for rows in features]
    np.testing.assert_allclose(dumped, torch.cat(features).numpy(), rtol=1e-4, atol=1e-5)


# --- bad configurations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "override, message",
    [
        ("task.perturbation=loud", "ConfigError: task.perturbation is 'loud': choose one of"),
        ("model.output_layer=12", "ConfigError: model.output_layer is 12: the encoder has layers 1..3"),
        ("model.codebook_sizes=[1]", "ConfigError: model.codebook_sizes is [1]"),
        ("dataset.train_subset=gone", "ManifestError: {data}: no gone.tsv or gone.json; the splits there are: dev, train"),
    ],
)
def test_bad_values_are_named(speech_folder, small_hubert, tmp_path, override, message):
    log = run(hydra_command(speech_folder, small_hubert, tmp_path, override), tmp_path, succeeds=False)
    assert message.format(data=speech_folder.data, folder=tmp_path) in log
