import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spin_fairseq.perturbation import Voice, draw_speaker, draw_speaker_of


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


# --- towards another speaker --------------------------------------------------------------------------------------

RATIOS = {"formant_ratio": 1.4, "pitch_ratio": 2.0, "range_ratio": 1.5}
voices = st.builds(
    Voice, median=st.floats(50, 700), spread=st.floats(0, 12), vocal_tract=st.floats(0.6, 1.6)
)  # more than people have


@given(st.lists(voices, min_size=2, max_size=6), st.data(), st.integers(0, 2**32), st.floats(0.1, 1))
def test_a_draw_turns_the_speaker_into_another_one_as_far_as_the_recipe_goes(some, data, seed, strength):
    own = data.draw(st.integers(0, len(some) - 1))
    draw, again = (draw_speaker_of(np.random.default_rng(seed), some, own, strength) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(draw, again))
    uniform = draw_speaker(np.random.default_rng(seed), strength)
    assert np.array_equal(draw.gains_db, uniform.gains_db) and np.array_equal(draw.q, uniform.q)
    assert draw.seed == uniform.seed

    def ratios(other):
        wanted = {
            "formant_ratio": some[own].vocal_tract / other.vocal_tract,
            "pitch_ratio": other.median / some[own].median,
            "range_ratio": max(other.spread, 0.1) / max(some[own].spread, 0.1),
        }
        return {name: min(max(ratio, 1 / RATIOS[name]), RATIOS[name]) ** strength for name, ratio in wanted.items()}

    found = {name: getattr(draw, name) for name in RATIOS}
    assert any(found == pytest.approx(ratios(other)) for place, other in enumerate(some) if place != own)


def test_every_other_speaker_is_as_likely():
    some = [Voice(100.0 + 10 * n, 3.0, 1.0) for n in range(5)]
    rng = np.random.default_rng(0)
    found = [round(draw_speaker_of(rng, some, 2).pitch_ratio * 120) for _ in range(2000)]
    assert set(found) == {100, 110, 130, 140}
    assert all(abs(found.count(median) / 2000 - 0.25) < 0.05 for median in set(found))


def test_there_and_back_is_no_change():
    """Guards against a ratio that is upside down for one of two speakers."""
    some = [Voice(100.0, 2.5, 1.1), Voice(170.0, 3.3, 0.95)]
    there, back = (draw_speaker_of(np.random.default_rng(0), some, own) for own in (0, 1))
    assert there.pitch_ratio == pytest.approx(1.7) and there.formant_ratio == pytest.approx(1.1 / 0.95)
    assert there.range_ratio == pytest.approx(3.3 / 2.5)
    for name in RATIOS:
        assert getattr(there, name) * getattr(back, name) == pytest.approx(1)
