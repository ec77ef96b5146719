import json

import numpy as np
import pytest
import soundfile
import torch

from spin_fairseq.checkpoints import load_encoder, load_spin
from spin_fairseq.speech.audio import read_audio
from spin_fairseq.speech.folder import manifest_of
from spin_fairseq.speech.manifest import load_manifest, write_manifest
from spin_fairseq.errors import AudioError, ConfigError, ManifestError
from spin_fairseq.extraction import dumping
from spin_fairseq.extraction.dumping import dump, runs
from tests.spin_checkpoints import save_spin


@pytest.fixture(scope="module", params=["hubert", "wavlm"])
def checkpoint(request, tmp_path_factory):
    return save_spin(tmp_path_factory.mktemp("spin") / "spin.pt", request.param)


@pytest.fixture(scope="module")
def manifest(speech_folder):
    return load_manifest(speech_folder.data, "dev")


def run(checkpoint, manifest, out, **options):
    return dump(load_spin(checkpoint), checkpoint, manifest, out, **options)


@torch.no_grad()
def alone(checkpoint, manifest, compute):
    """compute(model, wave (1, T)) for each file by itself, by the model as it is."""
    model = load_spin(checkpoint)
    return [
        compute(model, torch.from_numpy(read_audio(manifest.path(i)))[None])[0].numpy() for i in range(len(manifest))
    ]


@pytest.mark.parametrize("max_samples", [1, 10**6])
def test_units_do_not_depend_on_the_batch(checkpoint, manifest, tmp_path, max_samples):
    out = tmp_path / "dev.km"
    run(checkpoint, manifest, out, max_samples=max_samples, workers=2)
    expected = alone(checkpoint, manifest, lambda model, wave: model.extract_units(wave))
    assert out.read_text().splitlines() == [" ".join(map(str, units)) for units in expected]
    assert (tmp_path / "dev.ids").read_text().split() == [manifest.utterance_id(i) for i in range(len(manifest))]
    assert {path.name for path in tmp_path.iterdir()} == {"dev.km", "dev.ids"}


@pytest.mark.parametrize("output, codebook", [("embeddings", 0), ("scores", 1), ("features", 0)])
def test_arrays(checkpoint, manifest, tmp_path, output, codebook):
    layer = 2 if output == "features" else None
    run(checkpoint, manifest, tmp_path / "dev_0_1.npy", output=output, layer=layer, codebook=codebook)
    compute = {
        "embeddings": lambda model, wave: model.extract_embeddings(wave),
        "scores": lambda model, wave: model.extract_scores(wave, codebook=1),
        "features": lambda model, wave: model.extract_features(wave, output_layer=2)[0],
    }[output]
    expected = alone(checkpoint, manifest, compute)
    found = np.load(tmp_path / "dev_0_1.npy")
    lengths = [int(line) for line in (tmp_path / "dev_0_1.len").read_text().split()]
    assert lengths == [len(rows) for rows in expected] and found.dtype == np.float32
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-4, atol=2e-4)


def test_json_lines_and_arrays_of_units_say_the_same(checkpoint, manifest, tmp_path):
    run(checkpoint, manifest, tmp_path / "dev.jsonl")
    run(checkpoint, manifest, tmp_path / "dev.npy")
    run(checkpoint, manifest, tmp_path / "dev.km", deduplicate=True)
    units = np.split(np.load(tmp_path / "dev.npy"), np.cumsum(np.loadtxt(tmp_path / "dev.len", int))[:-1])
    lines = [json.loads(line) for line in (tmp_path / "dev.jsonl").read_text().splitlines()]
    rows = (tmp_path / "dev.km").read_text().splitlines()
    assert len(lines) == len(units) == len(rows) == len(manifest)
    for i, (line, row, frames) in enumerate(zip(lines, rows, units)):
        assert line["id"] == manifest.utterance_id(i)
        assert np.repeat(line["units"], line["durations"]).tolist() == frames.tolist()
        assert all(a != b for a, b in zip(line["units"], line["units"][1:])) and row == " ".join(
            map(str, line["units"])
        )


def test_runs():
    assert runs([5, 5, 7, 5]) == ([5, 7, 5], [2, 1, 1]) and runs([]) == ([], [])


@pytest.mark.parametrize("name", ["dev.km", "dev.npy", "dev.jsonl"])
def test_a_killed_dump_goes_on(checkpoint, manifest, tmp_path, monkeypatch, name):
    run(checkpoint, manifest, tmp_path / "whole" / name)
    monkeypatch.setattr(dumping, "GROUP_SAMPLES", int(manifest.sizes[:3].max() * 2))
    read, count = [], 4
    extract_each = dumping.extract_each

    def stopping(*arguments, **options):
        for index, found in extract_each(*arguments, **options):
            read.append(index)
            if len(read) == count:
                raise KeyboardInterrupt
            yield index, found

    monkeypatch.setattr(dumping, "extract_each", stopping)
    out = tmp_path / "killed" / name
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, manifest, out)
    assert not out.exists()
    with open(out.with_name(name + ".part"), "ab") as part:
        part.write(b"half a row that was being written")
    read, count = [], -1
    monkeypatch.setattr(dumping, "extract_each", stopping)
    run(checkpoint, manifest, out)
    assert 0 < len(read) < len(manifest)
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "killed" / path.name).read_bytes() == path.read_bytes()
    assert len(list((tmp_path / "killed").iterdir())) == len(list((tmp_path / "whole").iterdir()))


def test_another_run_does_not_go_on_with_the_parts_of_this(checkpoint, manifest, tmp_path):
    out = tmp_path / "dev.km"
    with dumping.ResumableFiles({"out": out}, {"other": 1}) as files:
        files.append(3, out=b"1 2 3\n")
    run(checkpoint, manifest, out)
    assert "1 2 3" not in out.read_text().splitlines()


@torch.no_grad()
def test_a_long_file_in_chunks_is_equal_to_the_whole(checkpoint, manifest, tmp_path):
    waves = [read_audio(manifest.path(i)) for i in range(len(manifest))]
    folder = tmp_path / "audio"
    folder.mkdir()
    wave = np.concatenate(waves)
    soundfile.write(folder / "long.wav", wave, 16000, subtype="FLOAT")
    run(checkpoint, manifest_of(folder), tmp_path / "long.npy", output="features", chunk_seconds=1.0)
    expected = load_spin(checkpoint).extract_features(torch.from_numpy(wave)[None])[0][0].numpy()
    np.testing.assert_allclose(np.load(tmp_path / "long.npy"), expected, rtol=1e-4, atol=2e-4)
    run(checkpoint, manifest_of(folder), tmp_path / "bounded.npy", output="features", attention_seconds=2.0)
    bounded = np.load(tmp_path / "bounded.npy")
    assert bounded.shape == expected.shape and np.isfinite(bounded).all() and np.abs(bounded - expected).max() > 1e-2


def test_features_of_a_base_alone(small_hubert, manifest, tmp_path):
    dump(load_encoder(small_hubert), small_hubert, manifest, tmp_path / "a.npy", output="features", layer=1)
    assert np.load(tmp_path / "a.npy").shape[1] == 64


@pytest.mark.parametrize(
    "options, message",
    [
        ({"codebook": 2}, "--codebook is 2: the checkpoint has codebooks 0..1"),
        ({"output": "features", "layer": 4}, "--layer is 4: the encoder has layers 1..3"),
        ({"layer": 2}, "--layer is 2: units are of layer 3"),
        ({"output": "scores", "format": "km"}, "--format is km: scores are written as npy alone"),
        ({"deduplicate": True, "format": "npy"}, "--deduplicate is for .km"),
    ],
)
def test_contradictions_are_named(checkpoint, manifest, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        run(checkpoint, manifest, tmp_path / "out" / "dev.km", **options)
    assert not (tmp_path / "out").exists()


def test_too_short_a_file_is_named(checkpoint, tmp_path):
    soundfile.write(tmp_path / "short.wav", np.zeros(399), 16000)
    with pytest.raises(ManifestError, match="short.wav: 399 samples are too short"):
        write_manifest(tmp_path / "dev.tsv", tmp_path, [("short.wav", 399)])
        run(checkpoint, manifest_of(tmp_path / "dev.tsv"), tmp_path / "out.km")


def test_a_manifest_of_another_file_is_refused(checkpoint, tmp_path):
    """Training refused it; extraction wrote the units of the first 20,000 of 51,543 samples and said nothing."""
    soundfile.write(tmp_path / "a.wav", np.zeros(51543), 16000)
    write_manifest(tmp_path / "dev.tsv", tmp_path, [("a.wav", 20000)])
    with pytest.raises(AudioError, match="a.wav: has 51543 samples, but its manifest says 20000"):
        run(checkpoint, manifest_of(tmp_path / "dev.tsv"), tmp_path / "out.km")
    assert not (tmp_path / "out.km").exists()


def test_files_of_one_name_have_ids_of_their_own(checkpoint, tmp_path):
    """`.ids` and JSON lines said 001 twice."""
    for n, speaker in enumerate(("anna", "ben")):
        (tmp_path / "in" / speaker).mkdir(parents=True)
        soundfile.write(
            tmp_path / "in" / speaker / "001.wav", 0.1 * np.random.default_rng(n).standard_normal(4000), 16000
        )
    run(checkpoint, manifest_of(tmp_path / "in"), tmp_path / "a.km")
    run(checkpoint, manifest_of(tmp_path / "in"), tmp_path / "a.jsonl")
    assert (tmp_path / "a.ids").read_text().split() == ["anna/001", "ben/001"]
    assert [json.loads(line)["id"] for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [
        "anna/001",
        "ben/001",
    ]


def test_a_bound_of_attention_is_suggested_for_long_files(checkpoint, tmp_path, monkeypatch, caplog):
    """Twenty minutes of audio took minutes without a word on the option that bounds them."""
    soundfile.write(tmp_path / "long.wav", np.zeros(32000), 16000)
    monkeypatch.setattr(dumping, "LONG", 1.0)
    run(checkpoint, manifest_of(tmp_path), tmp_path / "a.km", attention_seconds=1.0)
    assert "--attention-seconds" not in caplog.text
    run(checkpoint, manifest_of(tmp_path), tmp_path / "a.km")
    assert "long.wav: has 0 minutes" in caplog.text and "--attention-seconds 60" in caplog.text
