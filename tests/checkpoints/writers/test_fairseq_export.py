"""The export as a HuBERT, by fairseq in a process that never imports this package."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from spin_fairseq.checkpoints import load_spin
from spin_fairseq.checkpoints.writers import convert
from tests.small_hubert import LARGE_FORM
from tests.spin_checkpoints import save_spin

pytestmark = pytest.mark.slow

# As voice conversion tools load hubert_base.pt, and take layer 9 with final_proj or the last layer.
LOADER = """
import json, sys
import numpy, torch
for name, builtin in (("int", int), ("float", float), ("bool", bool)):  # fairseq's use of numpy before 1.24
    if name not in numpy.__dict__: setattr(numpy, name, builtin)
from fairseq import checkpoint_utils
for name in sys.argv[1:]:
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task([f"{name}.pt"], suffix="")
    model = models[0].eval()
    wave = torch.from_numpy(numpy.load("wave.npy"))
    if cfg.task.normalize:
        wave = torch.nn.functional.layer_norm(wave, wave.shape[-1:])
    result = {}
    with torch.no_grad():
        for layer in (2, 3):
            inputs = {"source": wave, "padding_mask": torch.BoolTensor(wave.shape).fill_(False), "output_layer": layer}
            x = model.extract_features(**inputs)[0]
            result[f"layer{layer}"], result[f"proj{layer}"] = x.numpy(), model.final_proj(x).numpy()
    numpy.savez(f"{name}.npz", **result)
    print(json.dumps({"model": type(model).__name__, "task": type(task).__name__,
                      "ours": any(name.startswith("spin_fairseq") for name in sys.modules)}))
"""
FORMS = {"base": {}, "large": {"normalize": True, **LARGE_FORM}}


@torch.no_grad()
def test_fairseq_without_this_package(tmp_path):
    for name, form in FORMS.items():
        convert(save_spin(tmp_path / f"spin_{name}.pt", encoder=form), tmp_path / f"{name}.pt", "hubert")
    wave = 0.2 + 0.3 * torch.randn(1, 20017, generator=torch.Generator().manual_seed(1))
    np.save(tmp_path / "wave.npy", wave.numpy())
    done = subprocess.run(
        [sys.executable, "-c", LOADER, *FORMS], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = [json.loads(line) for line in done.stdout.strip().splitlines() if line.startswith("{")]
    assert said == 2 * [{"model": "HubertModel", "task": "HubertPretrainingTask", "ours": False}]
    for name in FORMS:
        found, model = np.load(tmp_path / f"{name}.npz"), load_spin(tmp_path / f"spin_{name}.pt")
        for layer in (2, 3):
            expected = model.extract_features(wave, output_layer=layer)[0]
            torch.testing.assert_close(torch.from_numpy(found[f"layer{layer}"]), expected, rtol=1e-4, atol=2e-4)
        embeddings = torch.nn.functional.normalize(torch.from_numpy(found["proj3"]), dim=-1)
        torch.testing.assert_close(embeddings, model.extract_embeddings(wave), rtol=1e-4, atol=1e-4)


def test_torch_reads_it_with_weights_only(tmp_path):
    convert(save_spin(tmp_path / "spin.pt"), tmp_path / "hubert.pt", "hubert")
    code = "import sys, torch; print(len(torch.load('hubert.pt', weights_only=True)['model'])); assert 'fairseq' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout) > 50, done.stderr
