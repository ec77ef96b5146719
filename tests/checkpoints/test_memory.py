"""Peak memory of loading, beside the file's size: measured by the kernel, in a process of its own."""

import json
import os
import subprocess
import sys

import pytest
import torch

from tests.lightning_checkpoint import hyper_parameters, random_head, reference_tensors, save_lightning
from tests.small_hubert import BASE_SIZE, fairseq_hubert

# Of files of more than 100 MB in each precision.
LAYERS = {torch.float32: 3, torch.float16: 12}

MEASURE = """
import gc, json, sys
import spin_fairseq
from spin_fairseq.checkpoints import load_encoder, load_spin
from tests.small_hubert import BASE_SIZE, fairseq_hubert
import torch

def kilobytes(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key))

results = {}
for name, path in json.loads(sys.argv[1]).items():
    load = load_spin if name.startswith("spin") else load_encoder
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    before = kilobytes("VmRSS")
    model = load(path)
    results[name] = (kilobytes("VmHWM") - before) * 1024
    assert sum(p.numel() for p in model.parameters()) > 10_000_000
    del model
print(json.dumps(results))
"""


def write_all(folder, dtype):
    """-> {what it is: path}, each with some 30 million numbers or more in the model."""
    options = {**BASE_SIZE, "encoder_layers": LAYERS[dtype]}
    model, state = fairseq_hubert(**options)
    state["model"] = {name: tensor.to(dtype) for name, tensor in state["model"].items()}
    paths = {}

    def save(name, content):
        paths[name] = str(folder / f"{name}.pt")
        torch.save(content, paths[name])

    save("small", fairseq_hubert(**{**options, "encoder_layers": 1})[1])  # a first load brings libraries' buffers along
    if dtype == torch.float32:
        parameters = enumerate(model.parameters())
        moments = {i: {key: p.detach().clone() for key in ("exp_avg", "exp_avg_sq")} for i, p in parameters}
        save("fairseq with its optimizer", {**state, "last_optimizer_state": {"state": moments}})
        paths["fairseq, older file"] = str(folder / "old.pt")
        torch.save(state, paths["fairseq, older file"], _use_new_zipfile_serialization=False)
    else:
        save("fairseq", state)
    encoder = {name: tensor for name, tensor in state["model"].items() if not name.startswith("final_proj")}
    paths["spin, the reference's"] = str(folder / "last.ckpt")
    parameters = hyper_parameters(codes=2048, hid_dims=(256,))
    tensors = reference_tensors(encoder, *random_head(768, (256,), 2048))
    tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    save_lightning(paths["spin, the reference's"], tensors, parameters)
    try:
        import transformers
    except ImportError:
        return paths
    paths["transformers"] = str(folder / "transformers")
    config = transformers.HubertConfig(num_hidden_layers=LAYERS[dtype])
    transformers.HubertModel(config).to(dtype).save_pretrained(paths["transformers"])
    return paths


def size(path):
    return sum(entry.stat().st_size for entry in os.scandir(path)) if os.path.isdir(path) else os.path.getsize(path)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="the peak is measured by Linux")
@pytest.mark.parametrize("dtype", LAYERS)
def test_loading_takes_at_most_twice_the_file_and_a_little(dtype, tmp_path):
    paths = write_all(tmp_path, dtype)
    # Freed memory goes back to the system at once: what a load leaves behind is not there for the next.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, json.dumps(paths)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    peaks = json.loads(result.stdout.splitlines()[-1])
    shares = {name: peaks[name] / size(path) for name, path in paths.items() if name != "small"}
    assert min(map(size, list(paths.values())[1:])) > 100e6
    assert max(shares.values()) <= 2.2, shares
    assert min(shares.values()) > 0.3, shares  # else nothing was measured
