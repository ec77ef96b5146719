"""Some utterances to hear and see: labels and units in time, and the voice that the second view of Spin has."""

from dataclasses import dataclass
from collections.abc import Callable, Sequence

import numpy as np

from ..speech.audio import SAMPLE_RATE, read_utterance
from ..errors import AudioError, PerturbationError
from . import colouring, media
from ..speech.manifest import Manifest

LABEL_SECONDS = 0.01


@dataclass
class Box:
    """A segment of a strip. begin, end: seconds; left, width: per cent of the utterance; words: what hovering says."""

    begin: float
    end: float
    left: float
    width: float
    label: str
    words: str
    colour: colouring.Colour


@dataclass
class Strip:
    """Labels, or units of one model (its index; None: the phone labels), over the time of an utterance."""

    title: str
    model: int | None
    boxes: list


@dataclass
class View:
    """One wave. outline: of its envelope, an SVG path in a box of 1000 times 100; sound, spectrogram: data URIs."""

    title: str
    words: str
    sound: str
    outline: str
    spectrogram: str


@dataclass
class Utterance:
    """One utterance in the browser. cut: whether the page has only its first `seconds`."""

    name: str
    speaker: str
    seconds: float
    cut: bool
    views: list
    strips: list

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """[(per cent, "0.5 s")] of the time axis."""
        step = 0.5 if self.seconds <= 5 else 1.0
        return [
            (round(100 * n * step / self.seconds, 4), f"{n * step:g} s") for n in range(int(self.seconds / step) + 1)
        ]


def spread_over_speakers(manifest: Manifest, count: int) -> list[int]:
    """Rows of utterances by `count` different speakers, spread over all speakers; each speaker's first."""
    first = {}
    for i in sorted(range(len(manifest)), key=manifest.path):
        first.setdefault(manifest.speaker(i), i)
    rows = list(first.values())
    return [rows[round(n)] for n in np.linspace(0, len(rows) - 1, min(count, len(rows)))]


def read_utterances(
    manifest: Manifest, rows: Sequence[int], seconds: float, seed: int, strips_of: Callable[[str, float], list[Strip]]
) -> tuple[list[Utterance], list[str]]:
    """-> ([Utterance], notes on those that are left out).

    seconds: of each at most; seed: of the one voice that all second views have. strips_of: (utterance id, seconds) ->
    [Strip].
    """
    from ..perturbation import draw_speaker
    from ..perturbation.backends import build_backend

    draw = draw_speaker(np.random.default_rng(seed))
    utterances, notes = [], []
    for row in rows:
        name = manifest.utterance_id(row)
        try:
            wave = read_utterance(manifest, row)
            cut = len(wave) > seconds * SAMPLE_RATE
            wave = wave[: int(seconds * SAMPLE_RATE)]
            views = _views(wave, build_backend("native"), draw)
        except (AudioError, PerturbationError) as error:
            notes.append(f"{name} is left out: {error}")
            continue
        length = len(wave) / SAMPLE_RATE
        utterances.append(Utterance(name, manifest.speaker(row), length, cut, views, strips_of(name, length)))
    return utterances, notes


def _views(wave, backend, draw):
    """The wave, and what the second view of training could be."""
    from ..perturbation.backends import perturb

    changed = perturb(backend, wave, SAMPLE_RATE, None, draw)
    loudest = media.loudest_level(wave)
    highest = max(np.abs(wave).max(), np.abs(changed).max(), 1e-6)
    words = f"formants × {draw.formant_ratio:.2f}, pitch × {draw.pitch_ratio:.2f}, pitch range × {draw.range_ratio:.2f}, equaliser"
    return [
        View(title, what, media.sound(view), outline(view / highest), media.spectrogram(view, loudest, "gray_r"))
        for title, what, view in (("Original", "", wave), ("Perturbed", words, changed))
    ]


def outline(wave: np.ndarray, columns: int = 500) -> str:
    """(T,) in [-1, 1] -> the path of its envelope: 1000 wide, 100 high, 0 in the middle."""
    low, high = media.envelope(wave, columns)
    x = 1000 * (np.arange(len(low)) + 0.5) / len(low)
    over = [f"{a:.0f} {50 - 49 * b:.1f}" for a, b in zip(x, high)]
    under = [f"{a:.0f} {50 - 49 * b:.1f}" for a, b in zip(x[::-1], low[::-1])]
    return "M" + "L".join(over + under) + "Z"


def phone_strip(labels: Sequence[str], seconds: float) -> Strip:
    """labels: a sequence of names, one every 10 ms -> Strip."""
    changes = [n for n in range(len(labels)) if n == 0 or labels[n] != labels[n - 1]]
    boxes = []
    for start, end in zip(changes, [*changes[1:], len(labels)]):
        name = labels[start]
        _add(
            boxes, start * LABEL_SECONDS, end * LABEL_SECONDS, seconds, name, f"phone {name}", colouring.of_phone(name)
        )
    return Strip("Phone labels", None, boxes)


def unit_strip(
    title: str, model: int, units: Sequence[int], durations: Sequence[int], frame_seconds: float, seconds: float,
    looks: dict[int, tuple],
) -> Strip:  # fmt: skip
    """units without repeats and the frames, of `frame_seconds`, that each lasts -> Strip. looks: of `colouring.of_units`; {}: no labels."""
    boxes, time = [], 0
    for unit, frames in zip(units, durations):
        colour, phone, fraction = looks.get(unit, (None, None, None))
        words = f"unit {unit}" + (f", mostly {phone} ({fraction:.0%})" if phone else "")
        end = time + frames
        _add(
            boxes,
            time * frame_seconds,
            end * frame_seconds,
            seconds,
            str(unit),
            words,
            colour or colouring.of_number(unit),
        )
        time = end
    return Strip(title, model, boxes)


def _add(boxes, begin, end, seconds, label, words, colour):
    """A box, cut at the end of the utterance; none behind it."""
    end = min(end, seconds)
    if end > begin:
        left, right = 100 * begin / seconds, 100 * end / seconds
        boxes.append(Box(begin, end, round(left, 4), round(right - left, 4), label, words, colour))
