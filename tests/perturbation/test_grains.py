import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.perturbation import PitchMarks, grains, kernels
from spin_fairseq.perturbation.overlap_add import overlap_add, overlap_add_row
from spin_fairseq.perturbation.resampling import ZERO_CROSSINGS, resample, resample_row, taps_for
from tests.oracles import perturbation_oracle as oracle


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def random_marks(rng, samples):
    """Stretches of marks some 40 to 200 samples apart, with pauses between."""
    times, joined, time = [], [], rng.uniform(0, 500)
    while time < samples:
        period = rng.uniform(40, 200)
        for _ in range(rng.integers(1, 20)):
            times.append(round(time * 16) / 16)
            joined.append(True)
            time += period * rng.uniform(0.9, 1.1)
            if time >= samples:
                break
        joined[-1] = False
        time += rng.uniform(10, 1500)
    return PitchMarks(tensor(*times), torch.tensor(joined, dtype=torch.bool))


def plan(marks, samples, pitch_ratio=1.0, range_ratio=1.0, seed=0, capacity=None, formant_ratio=1.0):
    marks = PitchMarks(marks.times[None], marks.joined[None])
    return grains.plan(
        marks, torch.tensor([samples]), 16000, tensor(formant_ratio), tensor(pitch_ratio), tensor(range_ratio),
        torch.tensor([seed]), capacity,
    )  # fmt: skip


seeds = st.integers(0, 2**32 - 1)
ratios = st.floats(0.5, 2.0)


@settings(deadline=None, max_examples=60)
@given(seed=seeds, pitch_ratio=ratios, range_ratio=st.floats(1 / 1.5, 1.5))
def test_grains_in_voiced_stretches_lie_where_walking_along_them_gives(seed, pitch_ratio, range_ratio):
    marks = random_marks(np.random.default_rng(seed), 8000)
    planned = plan(marks, 8000, pitch_ratio, range_ratio)
    limits = (grains.LOWEST_F0 / 16000, grains.HIGHEST_F0 / 16000)
    expected = oracle.grain_places(*(x.tolist() for x in marks), 8000.0, pitch_ratio, range_ratio, *limits)
    found = dict(zip(planned.target[0].tolist(), planned.source[0].tolist()))
    for target, source in expected:
        near = [place for place in found if abs(place - target) <= 0.51]
        assert near and any(found[place] == pytest.approx(source) for place in near)


def test_jitter_is_no_intonation():
    """Periods in turn 2 % too long and too short: new ones are as long as each other, whatever the range asked for."""
    times = np.arange(40) * 100.0 + np.arange(40) % 2 * 2 + 100
    marks = PitchMarks(tensor(*times), torch.tensor([True] * 39 + [False]))
    for pitch_ratio, range_ratio in ((0.5, 1.0), (0.5, 1.5), (1.0, 1.5), (2.0, 0.7)):
        planned = plan(marks, 4200, pitch_ratio, range_ratio)
        target = planned.target[0][torch.isin(planned.source[0], tensor(*times))].diff()[2:-2]
        assert len(target) > 10 and (target - 100 / pitch_ratio).abs().max() <= 1


def test_periods_stay_where_no_other_pitch_is_asked_for():
    marks = random_marks(np.random.default_rng(5), 8000)
    planned = plan(marks, 8000, formant_ratio=1.3)
    on_mark = torch.isin(planned.source[0], marks.times)
    assert on_mark.sum() > 10
    assert torch.equal(planned.target[0][on_mark], planned.source[0][on_mark].round().long())


@settings(deadline=None, max_examples=60)
@given(seed=seeds, pitch_ratio=ratios, range_ratio=st.floats(1 / 1.5, 1.5))
def test_grains_cover_the_wave(seed, pitch_ratio, range_ratio):
    rng = np.random.default_rng(seed)
    marks = random_marks(rng, 8000)
    planned = plan(marks, 8000, pitch_ratio, range_ratio, seed % 1000)
    target, source = planned.target[0], planned.source[0]
    assert target[0] == 0 and target[-1] == 8000 and (target.diff() >= 0).all()
    assert (target.diff() <= 16000 / grains.LOWEST_F0 + 200).all()
    on_mark = torch.isin(source, marks.times)
    assert torch.equal(target[~on_mark], source[~on_mark].round().long())
    spacing = target.diff().float()
    assert (planned.left[0, 1:] <= spacing).all() and (planned.right[0, :-1] <= spacing).all()


def test_without_marks_grains_lie_8_to_12_ms_apart_and_depend_on_the_seed():
    nothing = PitchMarks(tensor(), torch.zeros(0, dtype=torch.bool))
    first, again, other = (plan(nothing, 32000, seed=seed).target[0] for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(first) == 201 and first.diff().min() > 90 and first.diff().max() < 230
    assert first.diff().float().std() > 10


def test_capacity_changes_nothing_but_the_padding():
    marks = random_marks(np.random.default_rng(3), 8000)
    exact, roomy = plan(marks, 8000, 1.3, 1.2), plan(marks, 8000, 1.3, 1.2, capacity=2000)
    for a, b in zip(exact, roomy):
        assert torch.equal(a[0, :-1], b[0, : a.size(1) - 1])
    assert (roomy.target[0, exact.target.size(1) :] == 8000).all()


@settings(deadline=None, max_examples=30)
@given(formant_ratio=st.floats(1 / 1.4, 1.4), pitch_ratio=ratios, period=st.integers(50, 200))
def test_no_second_pulse_comes_through(formant_ratio, pitch_ratio, period):
    """Pulses on the marks, read at the formant ratio: the changed wave has one at each grain and nothing elsewhere."""
    times = np.arange(period, 8000, period)
    marks = PitchMarks(tensor(*times), torch.tensor([True] * (len(times) - 1) + [False]))
    planned = plan(marks, 8000, pitch_ratio, formant_ratio=formant_ratio)
    read = torch.zeros(int(8000 / formant_ratio) + 1)
    read[torch.from_numpy(times / formant_ratio).round().long()] = 1.0
    changed = overlap_add_row(read, planned, formant_ratio, 8000)[times[0] : times[-1] + 1]
    target = planned.target[0]
    target = target[(target >= times[0]) & (target <= times[-1])] - times[0]
    away = torch.ones(len(changed), dtype=torch.bool)
    for near in (-1, 0, 1):  # both pulses and grains lie on whole samples
        away[(target + near).clamp(0, len(away) - 1)] = False
    assert changed[target].min() == pytest.approx(1.0, abs=0.01) and changed[away].max() < 0.01


@settings(deadline=None, max_examples=20)
@given(seed=seeds, pitch_ratio=ratios)
def test_overlap_add_is_the_sum_of_the_grains(seed, pitch_ratio):
    rng = np.random.default_rng(seed)
    planned = plan(random_marks(rng, 3000), 3000, pitch_ratio, 1.2)
    wave = rng.uniform(-1, 1, 3000).astype(np.float32)
    placed = zip(planned.target[0].tolist(), planned.source[0].round().long().tolist(), *(
        half[0].tolist() for half in (planned.left, planned.right)))  # fmt: skip
    # Where grains coincide the last one counts: its predecessors have no right half.
    expected = oracle.overlap_add(wave.tolist(), list(placed), 3000)
    row = overlap_add_row(torch.from_numpy(wave), planned, 1.0, 3000)
    batch = overlap_add(torch.from_numpy(wave)[None], planned, tensor(1.0), 3000)[0]
    np.testing.assert_allclose(row, expected, atol=2e-5)
    np.testing.assert_allclose(batch, expected, atol=2e-5)


def test_a_mark_on_the_very_end():
    """The last grain then has no rising half, and nothing is divided by its length."""
    marks = PitchMarks(tensor(100.0, 200.0, 299.75), torch.tensor([True, True, False]))
    planned = plan(marks, 300, 0.7)
    wave = torch.ones(300)
    row = overlap_add_row(wave, planned, 1.0, 300)
    assert (planned.left[0, 1:][planned.target[0].diff() > 0] == 0).any() and torch.isfinite(row).all()
    torch.testing.assert_close(row, overlap_add(wave[None], planned, tensor(1.0), 300)[0], atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=20)
@given(seed=seeds, ratio=st.floats(0.5, 2.0))
def test_resampling_is_the_definition(seed, ratio):
    wave = np.random.default_rng(seed).uniform(-1, 1, 300).astype(np.float32)
    length = int(330 / ratio)
    expected = oracle.resample(wave.tolist(), ratio, length, ZERO_CROSSINGS)
    row = resample_row(torch.from_numpy(wave), ratio, length)
    batch = resample(torch.from_numpy(wave)[None], torch.tensor([10**6]), tensor(ratio), length, taps_for(2.0))[0]
    np.testing.assert_allclose(row, expected, atol=1e-3)  # the table has 64 phases
    np.testing.assert_allclose(batch, row, atol=1e-5)


@pytest.mark.parametrize("ratio", [1 / 1.4, 0.9, 1.137, 1.4])
def test_resampling_moves_a_tone_and_aliases_none(ratio):
    time = np.arange(16000)
    middle = slice(400, -400)
    for frequency in (200.0, 1500.0, 3500.0):
        tone = np.sin(2 * np.pi * frequency / 16000 * time).astype(np.float32)
        length = int(16000 / ratio)
        moved = resample_row(torch.from_numpy(tone), ratio, length).numpy()
        wanted = np.sin(2 * np.pi * frequency * ratio / 16000 * np.arange(length))
        assert np.abs(moved - wanted)[middle].max() < 2e-3
    if ratio > 1.3:
        tone = np.sin(2 * np.pi * 7000 / 16000 * time).astype(np.float32)
        assert resample_row(torch.from_numpy(tone), ratio, 11000)[middle].abs().max() < 0.02


@settings(deadline=None, max_examples=100)
@given(seed=seeds, pitch_ratio=ratios, range_ratio=st.floats(1 / 1.5, 1.5), formant_ratio=ratios, same=st.booleans())
def test_plan_twins(seed, pitch_ratio, range_ratio, formant_ratio, same):
    """The kernel lays every grain where torch lays it, also on marks behind the end and where nothing is to change."""
    marks = random_marks(np.random.default_rng(seed), 8000)
    if same:
        pitch_ratio = range_ratio = 1.0
    samples = 7000 + seed % 1000
    expected = plan(marks, samples, pitch_ratio, range_ratio, seed, formant_ratio=formant_ratio)
    batch = PitchMarks(marks.times[None], marks.joined[None])
    found = grains.plan_row(batch, samples, 16000, formant_ratio, pitch_ratio, range_ratio, seed)
    for one, other in zip(expected, found):
        assert one.dtype == other.dtype and one.shape == other.shape
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("times, samples", [([], 1), ([], 4000), ([0.0], 1), ([30.0, 90.0], 50), ([5.0, np.inf], 700)])
def test_plan_twins_at_the_edges(times, samples):
    joined = torch.tensor([True] * (len(times) - 1) + [False] * bool(times), dtype=torch.bool)
    marks = PitchMarks(tensor(*times), joined)
    expected = plan(marks, samples, 1.3, 0.8, 3, formant_ratio=1.2)
    found = grains.plan_row(PitchMarks(marks.times[None], joined[None]), samples, 16000, 1.2, 1.3, 0.8, 3)
    for one, other in zip(expected, found):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_kernels_are_compiled():
    assert all(hasattr(getattr(kernels, name), "py_func") for name in ("track", "resample", "overlap_add", "cascade"))
