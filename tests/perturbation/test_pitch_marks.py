import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.errors import PerturbationError
from spin_fairseq.perturbation import PitchMarks, find_pitch_marks, kernels, pitch, pitch_marks
from spin_fairseq.perturbation.crossings import whole_numbers
from tests.perturbation.test_pitch import buzz
from tests.synthetic_speech import synthetic_voice


@pytest.fixture(scope="module")
def voice():
    return synthetic_voice(150.0, ["AA", "EH", "SIL", "AA", "IY"])


@pytest.mark.parametrize("f0", [80.0, 150.0, 333.0])
def test_marks_lie_on_the_pulses(f0):
    """A decaying ring at every pulse: its energy is centred a little behind it, in every period as much."""
    pulses = np.diff(np.floor(np.cumsum(np.full(16000, f0 / 16000))), prepend=0.0)
    wave = np.convolve(pulses, np.exp(-np.arange(200) / 15) * np.cos(np.arange(200) * 0.4))[:16000]
    marks = find_pitch_marks(wave, 16000, pitch_floor=60, pitch_ceiling=400)
    place = np.flatnonzero(pulses)
    behind = np.array([time - place[place <= time + 1].max() for time in marks.times.numpy()[2:-2]])
    assert marks.joined.tolist() == [True] * (len(marks.times) - 1) + [False]
    assert np.diff(marks.times.numpy()).mean() == pytest.approx(16000 / f0, rel=0.003)
    assert np.abs(behind - np.median(behind)).max() < 0.08 * 16000 / f0 + 1 and 0 <= np.median(behind) < 15


def test_marks_follow_the_period_and_not_where_in_it_a_phone_has_its_energy():
    """From one phone to the next the energy comes a quarter of a period later, while f0 stays: so do the gaps."""
    pulses = np.zeros(16000)
    pulses[::128] = 1.0
    early, late = np.exp(-np.arange(128) / 8), np.roll(np.exp(-np.arange(128) / 8), 32)
    share = np.clip((np.arange(16000) - 7700) / 600, 0, 1)  # five periods
    wave = np.convolve(pulses * (1 - share), early) + np.convolve(pulses * share, late)
    gaps = find_pitch_marks(wave[:16000], 16000, pitch_floor=75, pitch_ceiling=400).times.diff()[2:-2]
    assert len(gaps) > 115 and gaps.sum().item() == pytest.approx(128 * len(gaps) + 32, abs=10)
    assert (gaps - 128).abs().max() < 0.025 * 128


@settings(deadline=None, max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6), seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 2)
)
def test_sums_over_neighbours_stay_in_their_stretch(lengths, seed, rows):
    stretch = torch.tensor([[number for number, length in enumerate(lengths) for _ in range(length)]] * rows)
    values = torch.from_numpy(np.random.default_rng(seed).standard_normal(stretch.shape))
    found = pitch_marks._sum_over_neighbours(values, stretch)
    for row in range(rows):
        for i in range(sum(lengths)):
            near = range(max(0, i - pitch_marks.REACH), min(sum(lengths), i + pitch_marks.REACH + 1))
            expected = sum(values[row, k].item() for k in near if stretch[row, k] == stretch[row, i])
            assert found[row, i].item() == pytest.approx(expected, abs=1e-9)


def test_stretches_end_at_silence(voice):
    marks = find_pitch_marks(voice, 16000, pitch_floor=75, pitch_ceiling=400)
    inside_silence = (marks.times > 0.42 * 16000) & (marks.times < 0.58 * 16000)
    assert not inside_silence.any()
    last_before = int((marks.times < 0.5 * 16000).sum()) - 1
    assert not marks.joined[last_before] and marks.joined[:last_before].float().mean() > 0.95
    gaps = marks.times.diff()[marks.joined[:-1]]
    assert (16000 / gaps > 75 * 0.7).all() and (16000 / gaps < 400 * 1.3).all()


@settings(deadline=None, max_examples=25)
@given(
    counts=st.lists(st.lists(st.integers(0, 4), min_size=6, max_size=6), min_size=1, max_size=3),
    capacity=st.one_of(st.none(), st.integers(1, 30)),
)
def test_whole_numbers_are_those_that_counting_gives(counts, capacity):
    found = whole_numbers(torch.tensor(counts), capacity)
    for row, own in enumerate(counts):
        expected = [(piece, rank) for piece, count in enumerate(own) for rank in range(count)][:capacity]
        valid = found.valid[row]
        assert list(zip(found.piece[row][valid].tolist(), found.rank[row][valid].tolist())) == expected


def test_a_crop_has_the_marks_inside(voice):
    marks = find_pitch_marks(voice, 16000)
    crop = marks.crop(3000, 7000)
    inside = (marks.times >= 3000) & (marks.times < 10000)
    assert torch.equal(crop.times, marks.times[inside] - 3000) and len(crop.times) > 20
    assert torch.equal(crop.joined[:-1], marks.joined[inside][:-1]) and not crop.joined[-1]
    assert marks.joined[inside][-1] and len(marks.crop(0, 0).times) == 0


def test_a_batch_has_the_marks_of_its_rows(voice):
    rows = [voice, voice[:9000], np.zeros(16000, np.float32), voice[:0]]
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True)
    marks = find_pitch_marks(batch, 16000, pitch_floor=75, pitch_ceiling=400, lengths=[len(row) for row in rows])
    for row, times, joined in zip(rows, *marks):
        own = find_pitch_marks(row, 16000, pitch_floor=75, pitch_ceiling=400)
        assert torch.equal(times[: len(own.times)], own.times) and torch.equal(joined[: len(own.times)], own.joined)
        assert (times[len(own.times) :] == torch.inf).all() and not joined[len(own.times) :].any()


def test_each_row_has_its_own_range():
    waves = np.stack([buzz(90, 0.5), buzz(300, 0.5)])
    marks = find_pitch_marks(waves, 16000, pitch_floor=[75, 200], pitch_ceiling=[200, 500])
    for times, joined, f0 in zip(*marks, (90, 300)):
        assert 16000 / times.diff()[joined[:-1]].mean().item() == pytest.approx(f0, rel=0.01)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"pitch_floor": -1, "pitch_ceiling": 300}, "pitch_floor is -1"),
        ({"pitch_floor": 300, "pitch_ceiling": 75}, "pitch_ceiling is 75"),
        ({"pitch_floor": 75}, "pitch_ceiling is None"),
        ({"pitch_floor": [75, 75], "pitch_ceiling": 300}, "pitch_floor"),
    ],
)
def test_bad_ranges_are_named(options, words, voice):
    with pytest.raises(PerturbationError, match=words):
        find_pitch_marks(voice, 16000, **options)


def test_energy_phasor_twins():
    rng = np.random.default_rng(0)
    samples = torch.from_numpy(rng.standard_normal((1, 30, 241)).astype(np.float32))
    f0 = torch.from_numpy(np.where(rng.random((1, 30)) < 0.3, 0, rng.uniform(60, 400, (1, 30))).astype(np.float32))
    frames = pitch.Frames(samples, None, 8000.0, 160, None, None, 1 / 60)
    expected = torch.where(f0 > 0, pitch_marks._energy_phasor(frames, f0), 0)
    found = kernels.energy_phasor(samples[0].numpy(), f0[0].numpy(), 8000.0)
    np.testing.assert_allclose(found, expected[0].numpy(), atol=2e-5)


@pytest.mark.parametrize("seed", range(40))
def test_marks_twins(seed):
    """The kernel finds the very marks that torch finds, whatever the contour, also where the wave ends in a stretch."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    f0 = rng.uniform(60, 500) * rng.uniform(0.9, 1.1, count) * (np.repeat(rng.random(count), 4)[:count] < 0.7)
    f0 = torch.from_numpy(f0.astype(np.float32))[None]
    length = count * 160 - int(rng.integers(0, 330)) % (count * 160)
    valid = (torch.arange(count)[None] * 80 + 40) * 2 < length
    samples = torch.from_numpy(rng.standard_normal((1, count, 161)).astype(np.float32))
    frames = pitch.Frames(samples, None, 8000.0, 160, None, valid, 1 / 60)
    expected = pitch_marks.marks_of_contour(frames, f0, torch.tensor([length]), 16000, None)
    inside = expected.times[0] < torch.inf
    found = pitch_marks.marks_of_row(frames, f0, length, 16000)
    assert torch.equal(found.times, expected.times[0][inside]) and torch.equal(found.joined, expected.joined[0][inside])


def test_all_marks_lie_inside(voice):
    """Wherever the wave is cut: the last frame's marks may fall behind its end."""
    for samples in range(3000, 3400, 7):
        times = find_pitch_marks(voice[:samples], 16000, pitch_floor=75, pitch_ceiling=400).times
        assert len(times) > 10 and times.min() >= 0 and times.max() < samples


def test_marks_are_multiples_of_a_sixteenth(voice):
    times = find_pitch_marks(voice, 16000).times
    assert times.dtype == torch.float64 and torch.equal(times * 16, (times * 16).round())
    assert isinstance(find_pitch_marks(voice, 16000), PitchMarks)
