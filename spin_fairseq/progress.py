"""One progress bar with the time left, for all long work."""

from __future__ import annotations

import sys
from typing import Any
from collections.abc import Iterable

from tqdm import tqdm


class ProgressBar(tqdm):
    """On stderr, and silent where that is no terminal, or after `ProgressBar.hide()`.

    Of a bar that is made while another is shown, that one tells the percentage, so that there is one line. Options are
    tqdm's. It has no watching thread, which would be alive when processes are forked.
    """

    monitor_interval = 0
    hidden = False
    _shown = None

    def __init__(self, iterable: Iterable | None = None, *, disable: bool = False, **options: Any):
        silent = disable or ProgressBar.hidden or not sys.stderr.isatty()
        self._outer = None if silent else ProgressBar._shown
        self._name, self._told = options.get("desc"), None
        super().__init__(iterable, disable=silent or self._outer is not None, **{"dynamic_ncols": True, **options})
        if not self.disable:
            ProgressBar._shown = self

    def __iter__(self):
        if self._outer is None:
            yield from super().__iter__()
            return
        for item in self.iterable:
            yield item
            self.update()

    def update(self, n: float = 1) -> bool | None:
        if self._outer is None:
            return super().update(n)
        self.n += n
        told = f"{self._name} {self.n / self.total:.0%}" if self.total else f"{self._name}"
        if told != self._told:
            self._told = told
            self._outer.set_postfix_str(told)
        return None

    def update_of(self, n: int, total: int) -> None:
        """`update` of work whose total is known only when it begins."""
        self.total = total
        self.update(n)

    def close(self) -> None:
        if ProgressBar._shown is self:
            ProgressBar._shown = None
        if self._outer is not None and self._told:
            self._outer.set_postfix_str("")
            self._told = None
        super().close()

    @classmethod
    def hide(cls, hidden: bool = True) -> None:
        """Show no bars any more; False: show them again."""
        ProgressBar.hidden = hidden
