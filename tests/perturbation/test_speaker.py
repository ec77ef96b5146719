"""The native engine as a whole: what it changes, what it leaves, and that no input makes it fail."""

import numpy as np
import parselmouth
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.errors import PerturbationError
from spin_fairseq.perturbation import build_backend, change_speaker, draw_speaker, find_pitch_marks
from tests.perturbation.test_praat import centroid, f0_of
from tests.synthetic_speech import synthetic_voice

RANGE = {"pitch_floor": 75.0, "pitch_ceiling": 400.0}


@pytest.fixture(scope="module")
def voice():
    return synthetic_voice(150.0, ["AA", "EH", "AA", "EH", "AA"])


def formants(wave, vowel_seconds=0.2):
    """Median F1 and F2 over the middle of each vowel, by Praat's Burg analysis."""
    burg = parselmouth.Sound(wave.astype(float), 16000).to_formant_burg(maximum_formant=6000.0)
    times = np.arange(vowel_seconds / 2, len(wave) / 16000, vowel_seconds)
    return [np.array([burg.get_value_at_time(n, t) for t in times]) for n in (1, 2)]


@pytest.mark.parametrize("ratio", [0.55, 0.8, 1.3, 2.0])
@pytest.mark.parametrize("f0", [120.0, 150.0, 220.0])
def test_median_pitch_is_multiplied(ratio, f0):
    wave = synthetic_voice(f0, ["AA", "EH", "AA", "EH"])
    changed = change_speaker(wave, 16000, **RANGE, pitch_ratio=ratio)
    assert np.median(f0_of(changed)) == pytest.approx(ratio * np.median(f0_of(wave)), rel=0.02)


@pytest.mark.parametrize("ratio", [0.7, 1.4])
@pytest.mark.parametrize("pitch_ratio", [1.0, 1.6])
def test_pitch_range_is_multiplied(ratio, pitch_ratio, voice):
    changed = change_speaker(voice, 16000, **RANGE, range_ratio=ratio, pitch_ratio=pitch_ratio)
    spread, changed_spread = (np.ptp(np.percentile(f0_of(wave), [10, 90])) for wave in (voice, changed))
    assert changed_spread == pytest.approx(ratio * pitch_ratio * spread, rel=0.1)


@pytest.mark.parametrize("ratio", [1 / 1.4, 0.85, 1.2, 1.4])
def test_formants_move_and_pitch_stays(ratio, voice):
    changed = change_speaker(voice, 16000, **RANGE, formant_ratio=ratio)
    assert np.median(f0_of(changed)) == pytest.approx(np.median(f0_of(voice)), rel=0.01)
    for before, after in zip(formants(voice), formants(changed)):
        assert np.nanmedian(after / before) == pytest.approx(ratio, rel=0.08)


def test_nothing_asked_nothing_changed(voice):
    rng = np.random.default_rng(0)
    for wave in (voice, 0.1 * rng.standard_normal(16000), np.zeros(4000), voice[:1]):
        np.testing.assert_allclose(change_speaker(wave, 16000, **RANGE), wave, atol=1e-6)


def test_voiceless_stretches_keep_their_spectrum_and_level():
    noise = 0.1 * np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    assert np.array_equal(change_speaker(noise, 16000, **RANGE, pitch_ratio=1.8), change_speaker(noise, 16000, **RANGE))
    changed = change_speaker(noise, 16000, **RANGE, formant_ratio=0.8)
    level = 20 * np.log10(changed.std() / noise.std())
    assert -3.0 < level < 0.5 and (f0_of(changed).size < 20)
    assert centroid(changed) < 0.9 * centroid(noise)


def test_silence_between_words_stays(voice):
    wave = np.concatenate([voice, np.zeros(8000, np.float32), voice])
    changed = change_speaker(wave, 16000, **RANGE, formant_ratio=1.3, pitch_ratio=0.6)
    assert np.abs(changed[len(voice) + 800 : len(voice) + 7200]).max() < 1e-4


def test_a_draw_gives_the_same_wave_again_and_another_seed_another(voice):
    wave = np.concatenate([voice, 0.05 * np.random.default_rng(1).standard_normal(8000).astype(np.float32)])
    options = {"formant_ratio": 1.2, "pitch_ratio": 1.3, **RANGE}
    first, again, other = (change_speaker(wave, 16000, seed=seed, **options) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_marks_found_before_serve_as_well(voice):
    marks = find_pitch_marks(voice, 16000, **RANGE)
    options = {"formant_ratio": 1.2, "pitch_ratio": 0.7, "range_ratio": 1.3}
    with_marks, without = (
        change_speaker(voice, 16000, marks=marks, **options),
        change_speaker(voice, 16000, **RANGE, **options),
    )
    assert np.array_equal(with_marks, without)


def test_range_ratios_that_would_take_f0_below_zero():
    """Praat 6.1 fails, or never returns, where a stretch lies far below the median."""
    wave = np.concatenate([synthetic_voice(f0, ["AA", "EH"]) for f0 in (260.0, 80.0, 260.0, 260.0)])
    changed = change_speaker(wave, 16000, pitch_floor=70, pitch_ceiling=400, range_ratio=1.5)
    assert np.isfinite(changed).all() and changed.std() > 0.2 * wave.std()


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, torch.float32, torch.float64, torch.bfloat16])
def test_kinds_in_and_out(kind, voice):
    wave = torch.from_numpy(voice).to(kind) if isinstance(kind, torch.dtype) else voice.astype(kind)
    changed = change_speaker(wave, 16000, pitch_ratio=1.2)
    assert type(changed) is type(wave) and changed.shape == wave.shape
    assert changed.dtype == (torch.float32 if torch.is_tensor(wave) else np.float32)


def test_a_batch_is_its_rows(voice):
    rows = [voice, voice[:9001], np.zeros(5000, np.float32)]
    lengths, ratios = [len(row) for row in rows], np.array([[1.3, 0.8, 1.1], [0.7, 1.5, 2.0], [1.2, 0.9, 1.0]])
    batch = np.stack([np.pad(row, (0, len(voice) - len(row))) for row in rows])
    marks = find_pitch_marks(batch, 16000, **RANGE, lengths=lengths)
    names = ("formant_ratio", "pitch_ratio", "range_ratio")
    changed = change_speaker(batch, 16000, marks=marks, lengths=lengths, seed=[4, 5, 6], **dict(zip(names, ratios.T)))
    for row, (wave, own) in enumerate(zip(rows, ratios)):
        alone = change_speaker(wave, 16000, **RANGE, seed=4 + row, **dict(zip(names, own)))
        np.testing.assert_allclose(changed[row, : len(wave)], alone, atol=1e-6)
        assert not changed[row, len(wave) :].any()


WAVES = {
    "silence": lambda n, rng: np.zeros(n),
    "dc": lambda n, rng: np.full(n, 0.7),
    "noise": lambda n, rng: rng.uniform(-1, 1, n),
    "square": lambda n, rng: np.sign(np.sin(np.arange(n) * rng.uniform(0.01, 1))),
    "clipped voice": lambda n, rng: np.clip(np.resize(synthetic_voice(120.0, ["AA", "EH"]), n) * 8, -1, 1),
    "click": lambda n, rng: np.eye(1, n, n // 2)[0],
    "tiny": lambda n, rng: 1e-30 * rng.standard_normal(n),
    "large": lambda n, rng: 1e6 * rng.standard_normal(n),
}


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(sorted(WAVES)),
    samples=st.sampled_from([1, 2, 3, 160, 320, 4321, 16000]),
    sample_rate=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]),
    seed=st.integers(0, 2**32 - 1),
    known=st.booleans(),
)
def test_no_input_fails(kind, samples, sample_rate, seed, known):
    rng = np.random.default_rng(seed)
    wave = WAVES[kind](samples, rng).astype(np.float32)
    backend = build_backend("native")
    changed = backend(wave, sample_rate, (75.0, 400.0) if known else None, draw_speaker(rng))
    assert changed.shape == wave.shape and changed.dtype == np.float32 and np.isfinite(changed).all()
    assert np.abs(changed).max() <= 3 * np.abs(wave).max()


def test_forty_seconds():
    wave = np.resize(synthetic_voice(120.0, ["AA", "SIL", "EH"]), 40 * 16000)
    changed = change_speaker(wave, 16000, formant_ratio=0.8, pitch_ratio=1.5)
    assert changed.shape == wave.shape and np.isfinite(changed).all()


def test_no_samples():
    assert change_speaker(np.zeros(0, np.float32), 16000).shape == (0,)
    assert change_speaker(torch.zeros(2, 0), 16000, formant_ratio=1.3).shape == (2, 0)


@pytest.mark.parametrize("form", [lambda w: w[::-1], lambda w: w.astype(">f8"), lambda w: np.stack([w, w], 1)[:, 0]])
def test_any_layout_of_an_array(form):
    """torch refuses arrays that are read backwards, or in the other order of bytes, with errors of its own."""
    wave = form(synthetic_voice(120.0, ["AA", "SIL", "EH"])[::-1])
    plain = np.ascontiguousarray(wave, np.float32)
    changed = change_speaker(wave, 16000, formant_ratio=1.2, pitch_ratio=1.4)
    assert np.array_equal(changed, change_speaker(plain, 16000, formant_ratio=1.2, pitch_ratio=1.4))
    assert np.array_equal(find_pitch_marks(wave, 16000).times, find_pitch_marks(plain, 16000).times)


def test_an_array_that_may_not_be_written_is_taken_without_a_warning(recwarn):
    wave = np.zeros(4000, np.float32)
    wave.flags.writeable = False
    assert change_speaker(wave, 16000).shape == (4000,) and not recwarn.list


@pytest.mark.parametrize(
    "wave, options, words",
    [
        (np.array([0.0, np.nan, 0.0]), {}, "sample 1"),
        (
            np.stack([np.zeros(40), np.r_[0.0, np.inf, np.zeros(38)]]),
            {},
            "row 1 of the wave is not a number at sample 1",
        ),
        (np.zeros((110738, 2)), {}, r"\(110738, 2\) .* looks like \(samples, channels\)"),
        (torch.zeros(3, 2), {}, r"wave\[:, 0\]"),
        (np.zeros(100, np.longdouble), {}, "float128"),
        (np.zeros(100, np.int16), {}, "int16"),
        (np.zeros((2, 3, 100)), {}, r"\(2, 3, 100\)"),
        (np.zeros(100), {"formant_ratio": 0}, "formant_ratio is 0"),
        (np.zeros(100), {"pitch_ratio": np.nan}, "pitch_ratio is nan"),
        (np.zeros((2, 100)), {"range_ratio": [1, 1, 1]}, "range_ratio"),
        (np.zeros((2, 100)), {"lengths": [1, 2, 3]}, "3 lengths for 2 waves"),
    ],
)
def test_bad_input_is_named(wave, options, words):
    with pytest.raises(PerturbationError, match=words):
        change_speaker(wave, 16000, **options)
