"""Runs begun by the version before the encoders of our own: their checkpoints load, give the same units, and go on."""

from pathlib import Path

import pytest
import torch

from spin_fairseq.checkpoints import load_spin
from tests.fairseq_runs import hydra_command, run, weights

FILES = Path(__file__).parent / "before_encoders"
FROZEN = {"hubert": "[cnn,pos,1]", "wavlm": "[cnn,pos]"}
each_kind = pytest.mark.parametrize("kind", FROZEN)


def later(kind):
    return torch.load(FILES / f"{kind}_after_6_updates.pt", weights_only=True)


@each_kind
@torch.no_grad()
def test_the_same_units(kind):
    """Guards against tensors that land in another place, or a head that is read otherwise."""
    model = load_spin(FILES / f"{kind}_after_2_updates.pt")
    wave = 0.1 + 0.3 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(5))
    assert torch.equal(model.extract_units(wave)[0], later(kind)["units"]["2"])
    assert torch.equal(model.extract_units(wave, codebook=1)[0], later(kind)["codebook_1"])


@pytest.mark.slow
@each_kind
def test_the_run_ends_at_the_same_weights(speech_folder, tmp_path, kind):
    """Guards against an optimiser state that meets other parameters than it was made of, and against other gradients."""
    started = FILES / f"{kind}_after_2_updates.pt"
    log = run(
        hydra_command(
            speech_folder, started, tmp_path / "run", f"checkpoint.restore_file={started}",
            "task.perturbation=none", "task.crop_multiple=1", f"model.freeze={FROZEN[kind]}", "model.codebook_sizes=[20,8]",
            "optimization.lr=[0.002]", "lr_scheduler.warmup_updates=1",
        ),
        tmp_path / "log",
    )  # fmt: skip
    assert "@ 2 updates" in log
    before, expected = weights(started), later(kind)["model"]
    found = weights(tmp_path / "run" / "checkpoints" / "checkpoint_last.pt")
    assert found.keys() == before.keys() and len(expected) > 20
    for name, start in before.items():
        if name not in expected:
            assert torch.equal(found[name], start), f"{name} is frozen"
            continue
        tensor = expected[name]
        if name.endswith("k_proj.bias"):  # has no effect, so its gradient is rounding, of which Adam makes whole steps
            continue
        moved = (tensor - start).norm()
        assert (found[name] - tensor).norm() <= 0.01 * moved, name
