"""Units, and what is measured of them, on a GPU beside a CPU."""

import json

import pytest
import torch

from spin_fairseq.extraction.batches import extract_each
from spin_fairseq.extraction.streaming import StreamingSpin
from spin_fairseq.models.spin import SpinConfig, SpinModel
from spin_fairseq.speech.manifest import load_manifest
from tests.commands.running import spin_fairseq

# What share of the units may be another: random weights leave many frames between two prototypes.
CHANGED = {"float32": 0.001, "tf32": 0.05, "bfloat16": 0.15, "float16": 0.05}
CUDA = [pytest.param("cuda", each, marks=pytest.mark.gpu) for each in CHANGED]


@pytest.fixture
def make_spin(make_base):
    """make_spin(kind, size) -> a model, of Base size for size "cuda", and the checkpoint that fairseq would write of it."""

    def make(kind, size):
        torch.manual_seed(0)
        options = {"checkpoint": str(make_base(kind, size)), "head_dims": [16], "codebook_sizes": [20], "freeze": ""}
        model = SpinModel.build_model(SpinConfig(**options)).eval()
        cfg = {"model": {"_name": "spin", **options, "encoder": model.encoder.config}}
        return model, {
            "args": None,
            "cfg": cfg,
            "model": model.state_dict(),
            "extra_state": {},
            "optimizer_history": [],
        }

    return make


def units_of(model, manifest, device):
    dtype = next(model.parameters()).dtype
    found = dict(extract_each(
        lambda source, mask: model.extract_units(source.to(dtype), mask), model.encoder.output_lengths, manifest,
        device=device, max_samples=60000,
    ))  # fmt: skip
    return torch.cat([torch.from_numpy(found[index][0]) for index in range(len(manifest))])


@pytest.mark.parametrize("kind", ["hubert", "wavlm"])
@pytest.mark.parametrize("where, number", [("cpu", "float32"), ("cpu", "bfloat16"), *CUDA])
@torch.no_grad()
def test_units_are_those_of_float32_on_a_cpu(where, number, kind, make_spin, speech_folder):
    manifest = load_manifest(speech_folder.data, "dev")
    model, _ = make_spin(kind, where)
    expected = units_of(model, manifest, "cpu")
    model = model.to(where, torch.float32 if number == "tf32" else getattr(torch, number))
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = number == "tf32"
    try:
        found = units_of(model, manifest, where)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    assert len(found) == len(expected) and (found != expected).float().mean() <= CHANGED[number]


@pytest.mark.parametrize("kind", ["hubert", "wavlm"])
@pytest.mark.parametrize("where, number", [("cpu", "bfloat16"), *CUDA[:1], *CUDA[2:]])
def test_units_in_a_stream_are_those_of_float32_on_a_cpu(where, number, kind, make_spin):
    """Guards against samples, statistics or frames that are kept on another device, or in another precision, than the model."""
    torch.manual_seed(1)
    wave, model = 0.1 * torch.randn(40000), make_spin(kind, where)[0]

    def units():
        stream = StreamingSpin(model, chunk_ms=200, look_ahead_ms=100, left_context_ms=400, features=True)
        found = [stream.push(piece) for piece in wave.split(3000)] + [stream.flush()]
        assert all(each.features.device.type == "cpu" and each.features.dtype == torch.float32 for each in found)
        return torch.cat([each.units for each in found])

    expected = units()
    model.to(where, getattr(torch, number))
    assert (units() != expected).float().mean() <= CHANGED[number]


def test_files_of_units_are_those_of_a_cpu(device, make_spin, speech_folder, tmp_path):
    torch.save(make_spin("hubert", device)[1], tmp_path / "spin.pt")
    rows = {}
    for place in {"cpu", device}:
        out = tmp_path / f"{place}.km"
        assert not spin_fairseq(
            "units", tmp_path / "spin.pt", speech_folder.data / "dev.tsv", "--out", out, "--device", place
        )
        rows[place] = [[int(unit) for unit in row.split()] for row in out.read_text().splitlines()]
    pairs = [(a, b) for one, other in zip(rows["cpu"], rows[device]) for a, b in zip(one, other)]
    assert [len(row) for row in rows["cpu"]] == [len(row) for row in rows[device]]
    assert sum(a != b for a, b in pairs) <= 0.001 * len(pairs)


@pytest.mark.slow
def test_an_evaluation_is_that_of_a_cpu(device, make_spin, speech_folder, tmp_path):
    torch.save(make_spin("hubert", device)[1], tmp_path / "spin.pt")
    pnmi = {}
    for place in ("cpu", device):
        out = tmp_path / place
        assert not spin_fairseq(
            "evaluate", "--data", speech_folder.data / "dev.tsv", "--phones", speech_folder.phones, "--metrics", "phones",
            "--samples", 20, "--out", out, "--device", place, tmp_path / "spin.pt",
        )  # fmt: skip
        (measured,) = json.loads((out / "results.json").read_text())["models"]
        pnmi[place] = measured["metrics"]["phones"]["pnmi"]["value"]
    assert pnmi[device] == pytest.approx(pnmi["cpu"], abs=0.005)
