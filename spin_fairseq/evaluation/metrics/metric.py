"""What a metric of the evaluation is: its name, its definition and where that comes from.

Every module of measures lists its own in `METRICS`; help texts, tables and documentation are made from these.
"""

import math
from dataclasses import dataclass

FRACTION = (0.0, 1.0)


@dataclass(frozen=True)
class Metric:
    """One measured quantity.

    key: its name in files, such as "pnmi"; title: in tables. better: "higher", "lower", or "" where neither is.
    definition: a plain sentence or two, with the formula. source: paper and section. unit: "bit", "1/s"; "" for a plain
    number. chance: in words, the value that units or features without any information have; "" where that says nothing.
    within: the least and the largest possible value, beyond which no interval goes.
    """

    key: str
    title: str
    better: str
    definition: str
    source: str
    unit: str = ""
    chance: str = ""
    within: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self):
        if self.better not in ("higher", "lower", ""):
            raise ValueError(f'{self.key}: better is "higher", "lower" or "", not {self.better!r}')
