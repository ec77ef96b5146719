import builtins
import subprocess
import sys

import numpy as np
import pytest

from spin_fairseq.errors import ConfigError, PerturbationError
from spin_fairseq.perturbation import build_backend, draw_speaker, equalize
from spin_fairseq.perturbation.backends import perturb
from tests.synthetic_speech import synthetic_voice

WIDE_RANGE = (75.0, 400.0)  # Hz


@pytest.fixture(scope="module")
def voice():
    return synthetic_voice(150.0, ["AA", "IY", "SIL", "UW", "EH"])


def draws(count, seed=0):
    rng = np.random.default_rng(seed)
    return [draw_speaker(rng) for _ in range(count)]


backends = pytest.mark.parametrize("name", ["praat", "sox"])


@backends
def test_length_kind_and_determinism(name, voice):
    backend = build_backend(name)
    outputs = []
    for draw in draws(4):
        before = voice.copy()
        first, again = (perturb(backend, voice, 16000, WIDE_RANGE, draw) for _ in range(2))
        assert first.dtype == np.float32 and first.shape == voice.shape
        assert np.array_equal(first, again) and np.array_equal(voice, before)
        assert np.isfinite(first).all() and np.abs(first).max() <= 1
        outputs.append(first)
    for other in outputs[1:]:
        assert np.abs(outputs[0] - other).max() > 0.05


@backends
@pytest.mark.parametrize("samples", [15999, 12345, 4000])
def test_any_length(name, samples, voice):
    for draw in draws(3, seed=samples):
        assert len(build_backend(name)(voice[:samples], 16000, WIDE_RANGE, draw)) == samples


def test_sox_says_nothing_about_every_utterance(voice, caplog):
    for ratio in (0.72, 0.95, 1.05, 1.4):
        build_backend("sox")(voice, 16000, WIDE_RANGE, draws(1)[0]._replace(formant_ratio=ratio))
    assert not caplog.records


@backends
@pytest.mark.parametrize("kind", ["silence", "noise"])
def test_voiceless_input(name, kind):
    wave = np.zeros(16000, np.float32)
    if kind == "noise":
        wave += 0.05 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    for draw in draws(3):
        result = perturb(build_backend(name), wave, 16000, WIDE_RANGE, draw)
        assert result.shape == wave.shape and np.isfinite(result).all()
        assert (np.abs(result).max() > 0.01) == (kind == "noise")


@backends
def test_equaliser_and_clip_follow(name, voice):
    backend, draw = build_backend(name), draws(1)[0]._replace(gains_db=np.full(10, 12.0))
    changed = equalize(backend(voice, 16000, WIDE_RANGE, draw), 16000, gains_db=draw.gains_db, q=draw.q)
    assert np.abs(changed).max() > 1  # there is something to clip
    assert np.array_equal(perturb(backend, voice, 16000, WIDE_RANGE, draw), np.clip(changed, -1, 1))


def test_none_leaves_the_wave_as_it_is(voice):
    assert build_backend("none") is None
    assert perturb(None, voice, 16000, WIDE_RANGE, draws(1)[0]) is voice


# --- what is missing --------------------------------------------------------------------------------------------


def test_unknown_name():
    with pytest.raises(ConfigError, match="task.perturbation is 'prat': choose one of .*praat.*sox.*none"):
        build_backend("prat")


def test_praat_is_not_installed(monkeypatch):
    real_import = builtins.__import__

    def without_parselmouth(name, *args, **kwargs):
        if name == "parselmouth":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_parselmouth)
    with pytest.raises(ConfigError, match="pip install praat-parselmouth"):
        build_backend("praat")


def test_the_sox_program_is_not_installed(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match="apt-get install sox"):
        build_backend("sox")


def test_a_failing_sox_is_an_error_of_the_utterance(monkeypatch, voice):
    backend = build_backend("sox")
    import sox

    def fail(*_, **__):
        raise sox.core.SoxError("no such effect")

    monkeypatch.setattr(sox.Transformer, "build_array", fail)
    with pytest.raises(PerturbationError, match="sox: no such effect"):
        backend(voice, 16000, WIDE_RANGE, draws(1)[0])


@pytest.mark.slow
def test_no_fairseq_is_needed():
    code = (
        "import sys; sys.modules['fairseq'] = None\n"
        "import spin_fairseq.perturbation.backends, spin_fairseq.perturbation.praat, spin_fairseq.perturbation.sox\n"
        "import spin_fairseq.modules.sinkhorn, spin_fairseq.modules.swapped_prediction\n"
        "import spin_fairseq.modules.prototypes, spin_fairseq.evaluation.clusters\n"
        "assert not [name for name in sys.modules if name.startswith('fairseq.')]\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
