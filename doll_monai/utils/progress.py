"""How far a program is: by tqdm, a bar in a terminal and whole lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from doll_monai.utils.errors import switch

LINE_SECONDS = 20.0
"""Least time between two lines of a log file."""
LINE = "{desc}: {n_fmt}/{total_fmt} ({percentage:.0f} %) [{elapsed}<{remaining}, {rate_fmt}]"


class Bar(tqdm):
    """Counts what is done: a bar in a terminal; elsewhere a line at the start, every 20 s and at the end.

    The environment variable ``TQDM_DISABLE=1`` hides the bars of a program and of those that it starts. Without
    ``iterable``, call ``update(n)`` and ``close()``. ``options`` are tqdm's; an ``InputError`` when ``quiet``, on or
    off as text as well, is neither.
    """

    monitor_interval = 0  # no thread of tqdm's: with miniters=1 every item looks at the clock

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        *,
        name: str,
        unit: str = "image",
        quiet: bool | str = False,
        **options: Any,
    ) -> None:
        if switch(quiet, "quiet"):
            options["disable"] = True
        if not sys.stderr.isatty():
            options |= {"file": _Lines(), "mininterval": LINE_SECONDS, "bar_format": LINE}
        super().__init__(iterable, name, unit=f" {unit}", miniters=1, **options)

    @classmethod
    def close_all(cls) -> None:
        """Close what an error left open, so that what is printed next begins a line and stays the last."""
        for bar in [*getattr(cls, "_instances", ())]:
            bar.close()


class _Lines:
    """Takes what tqdm writes, a carriage return before each state, and prints each state once, as a line."""

    count = ""

    def write(self, text: str) -> None:
        state = text.strip()
        count = state.partition(" [")[0]
        if count and count != self.count:
            self.count = count
            print(state, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Every line is flushed already."""
