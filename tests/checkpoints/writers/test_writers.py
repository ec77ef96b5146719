"""Every export: what it holds, what it says, and that reading it back gives the same tensors."""

import json

import joblib
import numpy as np
import pytest
import torch

from spin_fairseq import __version__
from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.checkpoints.files import read_file
from spin_fairseq.checkpoints.writers import WRITERS, convert
from spin_fairseq.errors import CheckpointError, ConfigError
from tests.commands.running import spin_fairseq
from tests.lightning_checkpoint import hyper_parameters, random_head, reference_tensors, save_lightning
from tests.small_hubert import LARGE_FORM
from tests.spin_checkpoints import save_spin, small_spin

FORMS = {
    "hubert": {},
    "hubert, large form, two linear layers": {"encoder": {"normalize": True, **LARGE_FORM}, "head_dims": [48, 32]},
    "hubert, lower layer": {"output_layer": 2},
    "wavlm": {"kind": "wavlm"},
    "wavlm, large form": {"kind": "wavlm", "encoder": {"normalize": True, **LARGE_FORM}},
}


@pytest.fixture(scope="module", params=FORMS, ids=str)
def checkpoint(request, tmp_path_factory):
    return save_spin(tmp_path_factory.mktemp("spin") / "spin.pt", **FORMS[request.param])


@pytest.fixture(scope="module")
def reference_checkpoint(tmp_path_factory):
    """Of the reference's form, with rows of the codebook that are not of unit length."""
    encoder = small_spin()[0].encoder
    head, codebook = random_head(64, (12,), 16)
    path = tmp_path_factory.mktemp("reference") / "last.ckpt"
    return save_lightning(path, reference_tensors(encoder.state_dict(), head, codebook), hyper_parameters())


@pytest.fixture
def wave():
    return 0.2 + 0.3 * torch.randn(1, 20017, generator=torch.Generator().manual_seed(1))


def assert_same_tensors(first, second):
    assert first.keys() == second.keys()
    assert not [name for name in first if not torch.equal(first[name], second[name])]


@pytest.fixture(autouse=True)
def needed_package(request):
    """Skips what writes a format whose package, an extra, is not installed."""
    to = getattr(request.node, "callspec", None) and request.node.callspec.params.get("to")
    if to in ("hf", "onnx"):
        pytest.importorskip({"hf": "safetensors", "onnx": "onnx"}[to])


def is_wavlm(checkpoint):
    return load_spin(checkpoint).encoder.config["kind"] == "wavlm"


def test_spin_and_back(checkpoint, tmp_path, wave):
    convert(checkpoint, tmp_path / "spin.pt", "spin")
    before, after = load_spin(checkpoint), load_spin(tmp_path / "spin.pt")
    assert_same_tensors(before.state_dict(), after.state_dict())
    assert before.output_layer == after.output_layer and before.encoder.config == after.encoder.config
    with torch.no_grad():
        assert torch.equal(before.extract_units(wave), after.extract_units(wave))
    convert(tmp_path / "spin.pt", tmp_path / "again.pt", "spin")
    first, second = (read_file(tmp_path / name) for name in ("spin.pt", "again.pt"))
    assert first["format"] == "spin_fairseq" and first["version"] == 1
    assert first["about"]["recipe"] == second["about"]["recipe"] and first["model"] == second["model"]


@pytest.mark.parametrize("to", ["hubert", "hf", "s3prl"])
def test_encoder_and_back(checkpoint, tmp_path, to, wave):
    if to == "hubert" and is_wavlm(checkpoint):
        with pytest.raises(CheckpointError, match="--to hubert is for HuBERT, and this is a wavlm"):
            convert(checkpoint, tmp_path / "out", to)
        assert not list(tmp_path.iterdir())
        return
    convert(checkpoint, tmp_path / "out", to)
    before, after = load_spin(checkpoint).encoder, load_encoder(tmp_path / "out")
    assert_same_tensors(before.state_dict(), after.state_dict())
    assert (before.normalize, before.sample_rate) == (after.normalize, after.sample_rate)
    with torch.no_grad():
        for first, second in zip(before.encode_layers(wave), after.encode_layers(wave)):
            assert torch.equal(first, second)
    # And from what was exported, the exports of an encoder again.
    convert(tmp_path / "out", tmp_path / "again", to)
    assert_same_tensors(before.state_dict(), load_encoder(tmp_path / "again").state_dict())


@pytest.mark.parametrize("to", WRITERS)
def test_each_says_what_it_holds_and_no_path(checkpoint, tmp_path, to):
    if to == "hubert" and is_wavlm(checkpoint):
        return
    out = tmp_path / "out"
    about = convert(checkpoint, out, to)
    model = load_spin(checkpoint)
    assert about["base"] == "hubert_base_ls960.pt" and about["data"] == "librispeech"
    assert about["layer"] == model.output_layer and about["codebook_sizes"] == [30, 7]
    assert about["recipe"]["max_update"] == 5000 and about["recipe"]["epsilon"] == 0.02
    assert about["version"] == f"spin_fairseq {__version__}"
    if to == "hf":
        found = json.loads((out / "config.json").read_text())["spin"]
        assert all(
            str(value) in (out / "README.md").read_text() for value in (about["base"], about["layer"], __version__)
        )
    elif to == "kmeans":
        found = joblib.load(out).about
    elif to == "onnx":
        import onnx

        found = json.loads(next(entry.value for entry in onnx.load(out).metadata_props if entry.key == "about"))
    else:
        found = read_file(out)["about"]
    assert found == about
    files = [path for path in out.rglob("*") if path.is_file()] if out.is_dir() else [out]
    assert all(b"/home/someone" not in path.read_bytes() for path in files)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    plain = tmp_path / "plain"
    plain.touch()  # readable for whom any new file is
    assert {path.stat().st_mode for path in files} == {plain.stat().st_mode}


def test_of_the_reference(reference_checkpoint, tmp_path, wave):
    about = convert(reference_checkpoint, tmp_path / "spin.pt", "spin")
    assert about["base"] == "HuBERT" and about["data"] == "train-clean-100" and about["recipe"]["updates"] == 5000
    before, after = load_spin(reference_checkpoint), load_spin(tmp_path / "spin.pt")
    assert_same_tensors(before.state_dict(), after.state_dict())
    assert not after.head.normalize_prototypes


@pytest.mark.parametrize("source", ["ours", "reference"])
@torch.no_grad()
def test_nearest_centre_is_our_unit(request, tmp_path, source):
    checkpoint = (
        save_spin(tmp_path / "ours.pt") if source == "ours" else request.getfixturevalue("reference_checkpoint")
    )
    convert(checkpoint, tmp_path / "km.bin", "kmeans")
    kmeans, model = joblib.load(tmp_path / "km.bin"), load_spin(checkpoint)
    torch.manual_seed(3)
    embeddings = torch.nn.functional.normalize(torch.randn(5000, model.head.prototypes[0].size(1)), dim=-1)
    units = model.head.scores(embeddings).argmax(-1).numpy()
    centres = kmeans.cluster_centers_.T  # as dump_km_label.py does
    distances = (embeddings.numpy() ** 2).sum(1, keepdims=True) - 2 * embeddings.numpy() @ centres + (centres**2).sum(0)
    assert np.array_equal(distances.argmin(1), units)
    if source == "ours":
        assert kmeans.cluster_centers_.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(kmeans.cluster_centers_, axis=1), 1.0, rtol=1e-6)
        assert np.array_equal(kmeans.predict(embeddings.numpy()), units)
    else:  # normalising the rows would have changed units
        normalised = torch.nn.functional.normalize(model.head.prototypes[0], dim=-1)
        assert (embeddings @ normalised.t()).argmax(-1).numpy().tolist() != units.tolist()
        assert np.array_equal(kmeans.predict(embeddings.double().numpy()), units)


@pytest.mark.parametrize("codebook", [0, 1])
@torch.no_grad()
def test_an_export_of_one_codebook_gives_its_units(tmp_path, wave, codebook):
    """The auxiliary codebook could be exported beside the primary one alone, and k-means held the primary one whatever was asked."""
    checkpoint = save_spin(tmp_path / "two.pt")
    units = load_spin(checkpoint).extract_units(wave, codebook=codebook)
    about = convert(checkpoint, tmp_path / "one.pt", "spin", codebook=codebook)
    one = load_spin(tmp_path / "one.pt")
    size = [30, 7][codebook]
    assert about["codebook_sizes"] == [size] == [len(prototypes) for prototypes in one.head.prototypes]
    assert about["codebook"] == f"{codebook} of those with 30, 7 units"
    assert torch.equal(one.extract_units(wave), units)

    convert(tmp_path / "one.pt", tmp_path / "again.pt", "spin")
    assert read_file(tmp_path / "again.pt")["about"]["codebook_sizes"] == [size]
    convert(checkpoint, tmp_path / "km.bin", "kmeans", codebook=codebook)
    embeddings = load_spin(checkpoint).extract_embeddings(wave)[0].numpy()
    assert joblib.load(tmp_path / "km.bin").predict(embeddings).tolist() == units[0].tolist()


def test_a_codebook_that_cannot_be_exported(small_hubert, tmp_path):
    checkpoint = save_spin(tmp_path / "two.pt")
    for source, to, codebook, message in [
        (checkpoint, "spin", 2, "--codebook is 2: .*two.pt has codebooks 0..1"),
        (checkpoint, "spin", -1, "--codebook is -1"),
        (checkpoint, "hubert", 0, "--codebook is for .*: --to hubert holds no codebook"),
        (small_hubert, "onnx", 0, "is an encoder alone"),
    ]:
        with pytest.raises(ConfigError, match=message):
            convert(source, tmp_path / "out", to, codebook=codebook)
        assert not (tmp_path / "out").exists()


def test_onnx(checkpoint, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    convert(checkpoint, tmp_path / "spin.onnx", "onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "spin.onnx"), providers=["CPUExecutionProvider"])
    model = load_spin(checkpoint)
    names = [output.name for output in session.get_outputs()]
    assert names == ["features", "embeddings", "units", "units_1"]
    for samples in (400, 719, 16000, 30123):
        wave = 0.2 + 0.3 * torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
        found = dict(zip(names, session.run(None, {"wave": wave.numpy()})))
        with torch.no_grad():
            features = model.extract_features(wave)[0]
            torch.testing.assert_close(torch.from_numpy(found["features"]), features, rtol=1e-4, atol=2e-4)
            for name, codebook in (("units", 0), ("units_1", 1)):
                assert found[name].tolist() == model.extract_units(wave, codebook=codebook).tolist()


@pytest.mark.parametrize("to", ["kmeans", "spin"])
def test_a_base_has_no_codebook(small_hubert, tmp_path, to):
    with pytest.raises(CheckpointError, match=f"{small_hubert}: an encoder alone, without the head .* --to {to}"):
        convert(small_hubert, tmp_path / "out", to)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["hubert", "hf", "s3prl"])
def test_a_base_is_converted_too(small_hubert, tmp_path, to):
    convert(small_hubert, tmp_path / "out", to)
    assert_same_tensors(load_encoder(small_hubert).state_dict(), load_encoder(tmp_path / "out").state_dict())


@pytest.mark.parametrize("to, key", [("hubert", "model"), ("s3prl", "model_weight")])
def test_the_final_projection_of_a_base_is_kept(small_hubert, tmp_path, to, key):
    about = convert(small_hubert, tmp_path / "first", to)
    convert(tmp_path / "first", tmp_path / "second", to)
    base, second = read_file(small_hubert)["model"], read_file(tmp_path / "second")[key]
    assert about["final_proj"] == "the base's own" and base["final_proj.weight"].any()
    for name in ("final_proj.weight", "final_proj.bias"):
        assert torch.equal(second[name], base[name])
    about = convert(save_spin(tmp_path / "spin.pt", head_dims=[48, 32]), tmp_path / "third", to)
    assert about["final_proj"] == "zeros" and not read_file(tmp_path / "third")[key]["final_proj.weight"].any()


def test_a_base_in_onnx_has_its_last_layer(small_hubert, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    convert(small_hubert, tmp_path / "out", "onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "out"), providers=["CPUExecutionProvider"])
    wave = 0.3 * torch.randn(1, 9000, generator=torch.Generator().manual_seed(2))
    (features,) = session.run(None, {"wave": wave.numpy()})
    with torch.no_grad():
        expected = load_encoder(small_hubert).extract_features(wave)[0]
    torch.testing.assert_close(torch.from_numpy(features), expected, rtol=1e-4, atol=2e-4)


def test_what_is_known_goes_on_from_export_to_export(tmp_path):
    pytest.importorskip("safetensors")
    first = convert(save_spin(tmp_path / "spin.pt"), tmp_path / "hf", "hf")
    for source, to in (("hf", "s3prl"), ("s3prl", "hubert")):
        about = convert(tmp_path / source, tmp_path / to, to)
        assert all(about[key] == first[key] for key in ("base", "recipe", "data", "layer", "codebook_sizes"))


def test_what_cannot_be_written_leaves_nothing(small_hubert, tmp_path):
    pytest.importorskip("safetensors")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("kept")
    with pytest.raises(CheckpointError, match="there: exists already"):
        convert(small_hubert, tmp_path / "there", "hf")
    with pytest.raises(CheckpointError, match="there: cannot be written"):
        convert(small_hubert, tmp_path / "there", "hubert")
    with pytest.raises(ConfigError, match="--to is 'wav'"):
        convert(small_hubert, tmp_path / "out", "wav")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_the_command_keeps_a_codebook(tmp_path, capsys):
    checkpoint = save_spin(tmp_path / "two.pt")
    assert spin_fairseq("convert", checkpoint, "--to", "spin", "--codebook", 1, "--out", tmp_path / "one.pt") == 0
    assert '"codebook": "1 of those with 30, 7 units"' in capsys.readouterr().out


def test_the_command(small_hubert, tmp_path, capsys):
    assert spin_fairseq("convert", small_hubert, "--out", tmp_path / "out.pt", "--to", "hubert") == 0
    assert '"encoder": "hubert, 3 layers of 64"' in capsys.readouterr().out
    assert spin_fairseq("convert", tmp_path / "gone.pt", "--out", tmp_path / "other", "--to", "hf") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "gone.pt: no such checkpoint" in error
