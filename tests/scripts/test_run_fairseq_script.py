"""fairseq's real scripts on small Spin checkpoints, all in one process, as they are installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

from spin_fairseq.checkpoints import load_spin
from spin_fairseq.checkpoints.writers import convert
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.manifest import load_manifest
from tests.small_hubert import LARGE_FORM
from tests.spin_checkpoints import save_spin

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
KMEANS = "hubert/simple_kmeans/"
GSLM = "textless_nlp/gslm/speech2unit/clustering/"
FORMS = {"hubert": {}, "large": {"encoder": {"normalize": True, **LARGE_FORM}}, "wavlm": {"kind": "wavlm"}}


def commands(folder, data, name):
    """What is run for a checkpoint: arguments of the launcher."""
    checkpoint = folder / f"{name}.pt"
    quantize = [
        GSLM + "quantize_with_kmeans.py", "--feature_type", "hubert", "--acoustic_model_path", checkpoint, "--layer", 2,
        "--manifest_path", data / "dev.tsv",
    ]  # fmt: skip
    return [
        [KMEANS + "dump_hubert_feature.py", data, "dev", checkpoint, 2, 1, 0, folder / name],
        [KMEANS + "learn_kmeans.py", folder / name, "dev", 1, folder / f"{name}.km", 5, "--n_init", 1, "--max_iter", 5],
        [KMEANS + "dump_km_label.py", folder / name, "dev", folder / f"{name}.km", 1, 0, folder / name / "labels"],
        [GSLM + "cluster_kmeans.py", "--in_features_path", folder / name / "dev_0_1.npy", "--num_clusters", 5,
         "--out_kmeans_model_path", folder / f"{name}.gslm.km", "--n_init", 1, "--max_iter", 5],
        [*quantize, "--kmeans_model_path", folder / f"{name}.km", "--out_quantized_file_path", folder / name / "gslm.txt"],
        ["--embeddings", KMEANS + "dump_hubert_feature.py", data, "dev", checkpoint, 3, 1, 0, folder / name / "spin"],
        [KMEANS + "dump_km_label.py", folder / name / "spin", "dev", folder / f"{name}.spin.km", 1, 0, folder / name / "spin"],
        ["--embeddings", *quantize, "--kmeans_model_path", folder / f"{name}.spin.km",
         "--out_quantized_file_path", folder / name / "spin.txt"],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def done(speech_folder, tmp_path_factory):
    """-> the folder in which the scripts left their results, and the manifest."""
    pytest.importorskip("npy_append_array")  # fairseq's scripts write with it
    folder = tmp_path_factory.mktemp("fairseq")
    for name, form in FORMS.items():
        convert(save_spin(folder / f"{name}.pt", **form), folder / f"{name}.spin.km", "kmeans")
    # --embeddings is for a whole process: first what is without it.
    everything = [command for name in FORMS for command in commands(folder, speech_folder.data, name)]
    everything.sort(
        key=lambda command: command[0] == "--embeddings" or "spin" in map(os.path.basename, map(str, command))
    )
    everything = [list(map(str, command)) for command in everything]
    # Absolute: fairseq takes the manifest's first line as it is.
    code = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); from run_fairseq_script import main\n"
    code += "".join(f"sys.path[0] = ''; main({command!r})\n" for command in everything)
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(SCRIPTS.parent), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-4000:]
    return folder, load_manifest(speech_folder.data, "dev")


@torch.no_grad()
def expected(folder, name, manifest, compute):
    model = load_spin(folder / f"{name}.pt")
    return [compute(model, torch.from_numpy(read_audio(manifest.path(i)))[None])[0] for i in range(len(manifest))]


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_features_and_kmeans(done, name):
    folder, manifest = done
    features = expected(folder, name, manifest, lambda model, wave: model.extract_features(wave, output_layer=2)[0])
    dumped = np.load(folder / name / "dev_0_1.npy")
    np.testing.assert_allclose(dumped, torch.cat(features).numpy(), rtol=1e-4, atol=2e-4)
    assert np.loadtxt(folder / name / "dev_0_1.len", int).tolist() == [len(rows) for rows in features]
    kmeans = joblib.load(folder / f"{name}.km")
    labels = [
        [int(unit) for unit in row.split()]
        for row in (folder / name / "labels" / "dev_0_1.km").read_text().splitlines()
    ]
    assert sum(labels, []) == kmeans.predict(dumped).tolist() and len(set(sum(labels, []))) == 5
    rows = (folder / name / "gslm.txt").read_text().splitlines()
    assert [list(map(int, row.partition("|")[2].split())) for row in rows] == labels
    assert joblib.load(folder / f"{name}.gslm.km").cluster_centers_.shape == (5, 64)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_the_codebook_as_kmeans_gives_our_units(done, name):
    folder, manifest = done
    units = [row.tolist() for row in expected(folder, name, manifest, lambda model, wave: model.extract_units(wave))]
    rows = (folder / name / "spin" / "dev_0_1.km").read_text().splitlines()
    assert [list(map(int, row.split())) for row in rows] == units
    rows = (folder / name / "spin.txt").read_text().splitlines()
    assert [list(map(int, row.partition("|")[2].split())) for row in rows] == units


@pytest.fixture
def launcher():
    spec = importlib.util.spec_from_file_location("run_fairseq_script", SCRIPTS / "run_fairseq_script.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_script_that_is_not_there(launcher):
    with pytest.raises(SystemExit, match=r"error: gone\.py: no such script, here or in .*examples"):
        launcher.main(["gone.py"])
    assert launcher.find_script(KMEANS + "learn_kmeans.py").is_file()


def test_a_stand_in_complains_when_it_is_used(launcher, monkeypatch):
    monkeypatch.setattr(launcher, "TORCHAUDIO", ["module_that_is_nowhere", "module_that_is_nowhere.inside"])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    launcher.stand_in_for_torchaudio()
    import module_that_is_nowhere.inside as stand_in

    with pytest.raises(
        ImportError, match=r"module_that_is_nowhere\.inside\.fbank is needed, and torchaudio does not work"
    ):
        stand_in.fbank  # noqa: B018  looking it up is what fails
