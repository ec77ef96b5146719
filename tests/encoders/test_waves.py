import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spin_fairseq.encoders.waves import RunningStatistics, wave_statistics

WAVE = torch.from_numpy(np.random.default_rng(0).standard_normal(3000)).float().cumsum(0) * 0.01 + 0.3


def close(found, expected):
    for name in ("mean", "variance", "window_mean", "window_covariance"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, len(WAVE)), max_size=20), windows=st.booleans())
def test_pieces_have_the_statistics_of_the_whole(cuts, windows):
    """Guards against windows that are left out, or counted twice, where two pieces meet."""
    running = RunningStatistics(10, 5, windows)
    for piece in np.split(WAVE.numpy(), sorted(cuts)):
        running.add(torch.from_numpy(piece))
    expected = wave_statistics(WAVE[None], None, 10, 5, windows)
    found = running.statistics()
    if windows:
        close(found, expected)
    else:
        assert found.window_mean is None
        torch.testing.assert_close(found.variance, expected.variance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("memory", [1000, 1001])
def test_memory_holds_the_last_pieces_alone(memory):
    """Guards against a memory that grows, and against one that forgets more than it was told to."""
    running = RunningStatistics(10, 5, False, memory)
    for piece in WAVE.split(100):
        running.add(piece)
    kept = WAVE[-1000 if memory == 1000 else -1100 :]
    torch.testing.assert_close(running.statistics().mean.item(), kept.double().mean().item())


def test_a_long_memory_has_few_pieces():
    """Guards against statistics that take longer the further back they go."""
    running = RunningStatistics(10, 5, True, 2000)
    for piece in WAVE.repeat(3).split(5):
        running.add(piece)
    assert len(running._pieces) <= 67
    kept = sum(samples.count for samples, _ in running._pieces)
    assert 2000 <= kept < 2000 + 2 * 2000 / 64
    torch.testing.assert_close(
        running.statistics().variance.item(),
        WAVE.repeat(3)[-kept:].double().var(correction=0).item(),
        rtol=1e-9,
        atol=0,
    )


@pytest.mark.parametrize("windows", [False, True])
def test_change_of_statistics(windows):
    """Guards against statistics that are used for ever although the sound has changed, or its direct current."""
    one = wave_statistics(WAVE[None], None, 10, 5, windows)
    assert one.change(one) == 0
    assert one.change(wave_statistics(2 * (WAVE - WAVE.mean())[None] + WAVE.mean(), None, 10, 5, windows)) > 2.9
    assert one.change(wave_statistics(WAVE[None] + WAVE.std(), None, 10, 5, windows)) > 0.05
    silence = wave_statistics(torch.zeros(1, 3000), None, 10, 5, windows)
    assert silence.change(silence) == 0 and silence.change(one) > 1e9 and one.change(silence) > 0.9
