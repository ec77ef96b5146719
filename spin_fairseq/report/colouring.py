"""Colours of phones and units in the strips: a unit looks like the phone that it most often stands for."""

from typing import NamedTuple
from collections.abc import Sequence

import numpy as np

from ..evaluation.metrics.phones import best_phone_per_unit

GOLDEN_ANGLE = 137.508  # degrees: neighbours in a list get hues far apart
CLASSES = (  # first and last hue, and the phones (ARPAbet) that have these hues
    (20, 105, "IY IH IX EY EH AE AY AA AO AH AX AXR ER OY AW OW UH UW UX"),  # vowels: warm
    (135, 160, "M EM N EN NG ENG NX"),  # nasals: green
    (175, 205, "L EL R W Y"),  # approximants: teal
    (230, 275, "P B T D DX K G Q CH JH"),  # stops and affricates: blue
    (295, 345, "F V TH DH S Z SH ZH HH HV"),  # fricatives: violet
)
SILENCE = frozenset(("SIL", "SPN", "SP", "PAU", "EPI", "H#", "NSN", "<EPS>"))
SHADES = (0, 1, -1)  # of neighbours in a class, in turn


class Colour(NamedTuple):
    """hue: degrees of OKLCH, None is grey; shade: -1, 0 or 1, how much darker or lighter."""

    hue: float | None
    shade: int = 0


def _known():
    colours = {}
    for first, last, names in CLASSES:
        names = names.split()
        for n, name in enumerate(names):
            colours[name] = Colour(round(first + (last - first) * n / (len(names) - 1), 1), SHADES[n % len(SHADES)])
    return colours


ARPABET = _known()


def of_phone(name: str) -> Colour:
    """A phone's Colour; other alphabets than ARPAbet get one from their letters."""
    if name.upper() in SILENCE:
        return Colour(None)
    return ARPABET.get(name.upper()) or of_number(sum((n + 1) * ord(letter) for n, letter in enumerate(name)))


def of_number(number: int) -> Colour:
    """The Colour of a unit of which no phone is known."""
    return Colour(round(number * GOLDEN_ANGLE % 360, 1), SHADES[number % len(SHADES)])


def of_units(counts: np.ndarray, names: Sequence[str]) -> dict[int, tuple[Colour, str, float]]:
    """(P, K) counts of phones and units, P names -> {unit: (Colour, likeliest phone, its fraction)} of the units that occur."""
    return {best.unit: (of_phone(best.phone), best.phone, best.fraction) for best in best_phone_per_unit(counts, names)}
