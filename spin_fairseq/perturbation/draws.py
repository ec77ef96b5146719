"""What is changed at random in the second view, and by how much (NANSY, Choi et al. 2021; Spin, section 3.1)."""

from typing import NamedTuple
from collections.abc import Sequence

import numpy as np

from .equalizer import BANDS

LARGEST_FORMANT_RATIO, LARGEST_PITCH_RATIO, LARGEST_RANGE_RATIO = 1.4, 2.0, 1.5
LOWEST_Q, HIGHEST_Q = 2.0, 5.0
LARGEST_GAIN_DB = 12.0
SMALLEST_SPREAD = 0.1  # semitones; a flatter voice counts as this


class SpeakerDraw(NamedTuple):
    """One random voice."""

    formant_ratio: float  # multiplies the formants
    pitch_ratio: float  # multiplies the median f0
    range_ratio: float  # multiplies the distance of f0 from its median
    gains_db: np.ndarray  # (10,) float64
    q: np.ndarray  # (10,) float64
    seed: int  # for a backend that draws random numbers itself


class Voice(NamedTuple):
    """A speaker's voice, as far as a change of pitch and formants can turn it into another's."""

    median: float  # Hz, of f0
    spread: float  # semitones, of f0
    vocal_tract: float  # length, in a unit of its own that is the same for all speakers


def stack_draws(draws: Sequence[SpeakerDraw]) -> SpeakerDraw:
    """SpeakerDraws of B utterances -> one whose fields are arrays, (B,) or (B, 10)."""
    return SpeakerDraw(*map(np.array, zip(*draws)))


def draw_speaker(rng: np.random.Generator, strength: float = 1.0) -> SpeakerDraw:
    """rng: numpy Generator -> SpeakerDraw. Ratios are uniform above 1, and inverted with probability 1/2.

    strength: 1 is the recipe's; below it each ratio is raised to this power and each gain (dB) multiplied by it, so that
    0 changes nothing. The same generator draws the same voice, nearer to or farther from the speaker's own.
    """

    def ratio(largest):
        value = rng.uniform(1.0, largest)
        return (value if rng.random() < 0.5 else 1.0 / value) ** strength

    return SpeakerDraw(
        formant_ratio=ratio(LARGEST_FORMANT_RATIO),
        pitch_ratio=ratio(LARGEST_PITCH_RATIO),
        range_ratio=ratio(LARGEST_RANGE_RATIO),
        q=LOWEST_Q * (HIGHEST_Q / LOWEST_Q) ** rng.uniform(0.0, 1.0, BANDS),
        gains_db=rng.uniform(-LARGEST_GAIN_DB, LARGEST_GAIN_DB, BANDS) * strength,
        seed=int(rng.integers(1, 2**31)),
    )


def draw_speaker_of(rng: np.random.Generator, voices: Sequence[Voice], own: int, strength: float = 1.0) -> SpeakerDraw:
    """As `draw_speaker`, but towards another one of two or more voices, each as likely as another. own: index of the speaker's.

    The ratios turn the pitch median, the relative pitch range and the formants of the speaker into those of the other, no
    farther than the largest ratios of `draw_speaker`; strength brings them nearer to 1 as there. The equaliser and the seed are
    those that `draw_speaker` draws with the same generator.
    """
    draw = draw_speaker(rng, strength)
    other = int(rng.integers(len(voices) - 1))
    own, other = voices[own], voices[other + (other >= own)]

    def ratio(value, largest):
        return float(np.clip(value, 1 / largest, largest)) ** strength

    own_spread, other_spread = (max(voice.spread, SMALLEST_SPREAD) for voice in (own, other))
    return draw._replace(
        formant_ratio=ratio(own.vocal_tract / other.vocal_tract, LARGEST_FORMANT_RATIO),
        pitch_ratio=ratio(other.median / own.median, LARGEST_PITCH_RATIO),
        range_ratio=ratio(other_spread / own_spread, LARGEST_RANGE_RATIO),
    )
