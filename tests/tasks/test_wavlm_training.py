"""The recipe on WavLM: its configuration, and a short run of fairseq's command on a small base."""

import pytest
import torch

from spin_fairseq.checkpoints import load_encoder, load_spin
from tests.small_wavlm import save_microsoft_wavlm
from tests.tasks.test_training import hydra_command, log_of, run, weights


@pytest.mark.slow
def test_trains_what_is_not_frozen(speech_folder, tmp_path):
    base = save_microsoft_wavlm(tmp_path / "wavlm.pt")
    command = hydra_command(
        speech_folder, base, tmp_path, "task.perturbation=none",
        "optimization.max_update=2", "dataset.validate_interval_updates=2", "checkpoint.save_interval_updates=2",
    )  # fmt: skip
    command[command.index("spin_hubert_base")] = "spin_wavlm_base"
    run(command, tmp_path)
    assert "valid on 'dev' subset" in log_of(tmp_path)

    last = tmp_path / "checkpoints" / "checkpoint_last.pt"
    before, after = load_encoder(base).state_dict(), weights(last)
    moved = {name for name, value in before.items() if not torch.equal(value, after["encoder." + name])}
    assert moved == {name for name in before if name.startswith("encoder.layers.2.")}
    base.unlink()  # the checkpoint stands alone
    units = load_spin(last).extract_units(torch.randn(1, 16000))
    assert units.shape == (1, 49)
