import numpy as np
import pytest

from spin_fairseq.perturbation import draw_speaker


@pytest.fixture(scope="module")
def draws():
    rng = np.random.default_rng(0)
    return [draw_speaker(rng) for _ in range(4000)]


@pytest.mark.parametrize("name, largest", [("formant_ratio", 1.4), ("pitch_ratio", 2.0), ("range_ratio", 1.5)])
def test_ratios_are_uniform_above_one_and_inverted_half_of_the_time(draws, name, largest):
    values = np.array([getattr(draw, name) for draw in draws])
    raised = values > 1
    assert 0.47 < raised.mean() < 0.53
    above_one = np.where(raised, values, 1 / values)
    assert above_one.min() >= 1 and above_one.max() <= largest
    for half in (raised, ~raised):  # uniform: mean in the middle, quarters in equal parts
        quarters = np.histogram(above_one[half], bins=4, range=(1, largest))[0] / half.sum()
        assert np.abs(quarters - 0.25).max() < 0.04
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.06


def test_equaliser_draws(draws):
    gains = np.array([draw.gains_db for draw in draws])
    q = np.array([draw.q for draw in draws])
    assert gains.shape == q.shape == (4000, 10)
    assert -12 <= gains.min() < -11.9 and 11.9 < gains.max() <= 12 and abs(gains.mean()) < 0.2
    assert 2 <= q.min() < 2.01 and 4.99 < q.max() <= 5
    position = np.log(q / 2) / np.log(2.5)  # uniform on a logarithmic scale
    assert abs(position.mean() - 0.5) < 0.01 and abs(position.std() - 12**-0.5) < 0.01


def test_the_same_generator_gives_the_same_draw():
    first, again, other = (draw_speaker(np.random.default_rng([7122, 1, index, 2])) for index in (3, 3, 4))
    for a, b in zip(first, again):
        assert np.array_equal(a, b)
    assert first.pitch_ratio != other.pitch_ratio and first.seed != other.seed
    assert 1 <= first.seed < 2**31


def test_strength_brings_the_same_voice_nearer():
    whole, half, none = (draw_speaker(np.random.default_rng(3), strength) for strength in (1.0, 0.5, 0.0))
    for name in ("formant_ratio", "pitch_ratio", "range_ratio"):
        assert getattr(half, name) ** 2 == pytest.approx(getattr(whole, name))
        assert getattr(none, name) == 1.0
    assert half.gains_db == pytest.approx(whole.gains_db / 2) and not none.gains_db.any()
    assert half.q == pytest.approx(whole.q) and half.seed == whole.seed
