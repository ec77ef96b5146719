"""examples/real_speech/sweep.py: short trainings on features that are computed once."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from spin_fairseq.checkpoints import load_encoder
from tests.librispeech_folder import librispeech_folder
from tests.small_hubert import NO_DROPOUT

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "real_speech" / "sweep.py"


@pytest.fixture(scope="module")
def sweep():
    path = sys.path.copy()
    spec = importlib.util.spec_from_file_location("real_speech_sweep", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    module.CROP = 20  # the tests' utterances are short
    yield module
    del sys.modules[spec.name]
    sys.path[:] = path


def test_settings_are_read_with_their_kinds(sweep):
    """Guards against a setting that stays a string, and against one that is misspelt and changes nothing."""
    assert sweep.settings_of("layers=2 strength=0.5 start=random") == sweep.Settings(
        layers=2, strength=0.5, start="random"
    )
    assert all(sweep.settings_of(text) != sweep.Settings() for text in sweep.TRIALS)
    with pytest.raises(SystemExit, match="no setting 'epsilom'"):
        sweep.settings_of("epsilom=1")


def test_the_table_has_differences_within_a_seed(sweep):
    usual = {seed: dict.fromkeys(sweep.METRICS, value) for seed, value in ((1, 0.1), (2, 0.3))}
    other = {seed: dict.fromkeys(sweep.METRICS, value) for seed, value in ((1, 0.2), (2, 0.4))}
    rows = sweep.table({"": usual, "lr=1": other}, [1, 2])
    assert rows[2].startswith("| usual | 0.200 ± 0.100 |") and rows[3].startswith("| lr=1 | +0.100 ± 0.000 |")


def test_features_are_those_of_the_whole_encoder_and_trials_are_kept(sweep, tmp_path, make_hubert):
    """Guards against features cut at the wrong layer, frozen layers that learn, and trials that are run again."""
    speech, base, out = librispeech_folder(tmp_path / "speech"), make_hubert(**NO_DROPOUT), tmp_path / "out"
    usual = "prototypes=8 width=8 seconds=4 layers=1 updates=1"
    arguments = ["--speech", speech, "--base", base, "--out", out, "--usual", usual, "--only", "updates=0", "updates=2"]
    arguments = [str(argument) for argument in arguments]
    settings = dict(prototypes=8, width=8, seconds=4, layers=1)
    given = sweep.Speech(speech, base, out / "features", below=1)
    encoder = load_encoder(base).eval()
    wave = torch.from_numpy(sweep.read_audio(given.dev[0]))[None]
    top = sweep.train(given, base, sweep.Settings(updates=0, **settings), seed=1)
    with torch.inference_mode():
        whole = encoder.encode(wave).features
        assert torch.allclose(top.features(torch.from_numpy(given.test[0].astype(np.float32))), whole, atol=2e-2)
    trained = sweep.train(given, base, sweep.Settings(updates=2, **settings), seed=1)
    same = [torch.equal(a, b) for a, b in zip(top.layers.parameters(), trained.layers.parameters())]
    assert not any(same[-8:]) and not torch.equal(top.head.prototypes[0], trained.head.prototypes[0])

    uniform, corpus = (given.views(1.0, draw) for draw in ("uniform", "corpus"))
    assert all(np.array_equal(a[0], b[0]) and not np.allclose(a[1:], b[1:]) for a, b in zip(uniform, corpus))

    sweep.main(arguments)
    kept = json.loads((out / "results.json").read_text())
    assert len(kept) == 3 and all(set(row) == set(sweep.METRICS) for row in kept.values())
    stamp = (out / "results.json").stat().st_mtime_ns
    sweep.main(arguments)
    assert (out / "results.json").stat().st_mtime_ns == stamp
