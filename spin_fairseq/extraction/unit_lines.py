"""Units of a stream as lines of text, written as they come."""

from __future__ import annotations

from collections.abc import Callable

from .streaming import StreamedUnits


class Lines:
    """Units to lines: of each chunk "5 5 7", or of each run of equal units, when it has ended, "5".

    write: takes a line. chunk: frames; None: runs instead. times: a line begins with the time of its first frame in
    seconds and a tab; that of a run with its begin and its end, which is how Audacity writes labels.
    """

    def __init__(self, write: Callable[[str], None], chunk: int | None, times: bool, frame_seconds: float) -> None:
        self.write, self.chunk, self.times, self.frame_seconds = write, chunk, times, frame_seconds
        self._unit, self._begin, self._frames = None, 0.0, 0  # of the run that may go on

    def add(self, found: StreamedUnits) -> None:
        if self.chunk is not None:
            for begin in range(0, len(found), self.chunk):
                time = f"{found.times[begin].item():.3f}\t" if self.times else ""
                self.write(time + " ".join(map(str, found.units[begin : begin + self.chunk].tolist())))
            return
        for unit, time in zip(found.units.tolist(), found.times.tolist()):
            if unit != self._unit:
                self.end()
                self._unit, self._begin, self._frames = unit, time, 0
            self._frames += 1

    def end(self) -> None:
        """Write the run that went on."""
        if self._unit is not None:
            end = self._begin + self._frames * self.frame_seconds
            times = f"{self._begin:.3f}\t{end:.3f}\t" if self.times else ""
            self.write(f"{times}{self._unit}")
        self._unit = None
