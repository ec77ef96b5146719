"""Whole runs of fairseq's own commands on a small base: training, resuming, and what is left behind."""

import re
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import fairseq
from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.manifest import load_manifest
from tests.fairseq_runs import (
    QUALITY,
    REPOSITORY,
    TRAIN,
    UPDATES,
    assert_same_weights,
    hydra_command,
    log_of,
    run,
    start,
    validated,
    weights,
)

pytestmark = pytest.mark.slow


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


def test_the_classic_command_line_trains_alike_and_needs_no_phone_labels(
    speech_folder, small_hubert, trained, tmp_path
):
    log = run(
        TRAIN + [
            speech_folder.data, "--user-dir", REPOSITORY / "spin_fairseq", "--task", "spin", "--arch", "spin",
            "--criterion", "swapped_prediction", "--checkpoint", small_hubert,
            "--min-sample-size", 800, "--crop-multiple", 4000, "--freeze", "cnn,pos,1..2", "--head-dims", 16,
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
    log = run(hydra_command(speech_folder, small_hubert, tmp_path, f"dataset.num_workers={num_workers}"), tmp_path)
    assert re.search(r"Loaded checkpoint .*checkpoint_last.pt \(epoch 2 @ 4 updates\)", log)
    assert "num_updates: 4" not in log and len(validated(log, "pnmi")) == 2  # updates 5 and 6 alone
    assert_same_weights(*(weights(folder / "checkpoints" / "checkpoint_last.pt") for folder in (trained, tmp_path)))


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
        (
            "dataset.train_subset=gone",
            "ManifestError: {data}: no gone.tsv or gone.json; the splits there are: dev, train",
        ),
    ],
)
def test_bad_values_are_named(speech_folder, small_hubert, tmp_path, override, message):
    log = run(hydra_command(speech_folder, small_hubert, tmp_path, override), tmp_path, succeeds=False)
    assert message.format(data=speech_folder.data, folder=tmp_path) in log
