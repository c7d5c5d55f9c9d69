"""How far a program is: in a terminal a moving bar, elsewhere a whole line from time to time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tqdm import tqdm

from doll_monai.utils.errors import switch

VARIABLE = "DOLL_MONAI_PROGRESS"
"""Environment variable with which a program tells those that it starts where their standard error goes: the columns of
a terminal to which it is copied, or ``quiet`` when nobody wants to see bars."""
QUIET = "quiet"
LINE_SECONDS, MOVE_SECONDS = 20.0, 0.1
"""Least time between two lines, and between two movements of a bar."""
DRAWN = " |{bar}|"


class Bar(tqdm):
    """Counts what is done: ``images: 120/960 (12 %), 5.3 images/s, 3 min left``, in a terminal with a bar behind.

    A line is written at the start, every 20 s, and at the end. No carriage return goes anywhere but to a terminal.

    Args:
        iterable: what is counted while it is gone through; without it, call ``update(n)`` and ``close()``.
        name: what is done.
        unit: what is counted, in the singular.
        total: how many there are; the length of the iterable by default.
        quiet: show nothing.
    """

    monitor_interval = 0  # no thread of tqdm's: with miniters=1 every item looks at the clock

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        *,
        name: str,
        unit: str = "image",
        total: int | None = None,
        quiet: bool | str = False,
    ) -> None:
        width = terminal_width()
        pause = LINE_SECONDS if width is None else MOVE_SECONDS
        super().__init__(
            iterable,
            name,
            total,
            unit=unit,
            disable=switch(quiet, "quiet") or os.environ.get(VARIABLE) == QUIET,
            file=_WholeLines() if width is None else None,
            bar_format="{sentence}" + ("" if width is None else DRAWN),
            ncols=width,
            nrows=20,  # also of a terminal that does not tell its size
            mininterval=pause,
            maxinterval=pause,
            miniters=1,
        )

    def along(self, items: Iterable[Any]) -> Iterator[Any]:
        """Go through one of several collections that are counted together."""
        for item in items:
            yield item
            self.update(1)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Show the state; the last one once, when the bar is closed."""
        ended = self.total is not None and self.n >= self.total
        return False if ended and not self.disable else super().display(msg, pos)

    @property
    def format_dict(self) -> dict[str, Any]:
        """What ``bar_format`` is filled with."""
        values = super().format_dict
        return {**values, "ncols": terminal_width(), "sentence": sentence(values)}


class _WholeLines:
    """Takes what tqdm writes, a carriage return before each state, and prints each state as a line."""

    def write(self, text: str) -> None:
        state = text.strip()
        if state:
            print(state, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Every line is flushed already."""


def end_bars() -> None:
    """Close the bars that are open, so that what is printed next begins a line."""
    for bar in list(getattr(Bar, "_instances", ())):
        bar.close()


def terminal_width() -> int | None:
    """Columns of the terminal that shows standard error, directly or through the program that started this one.

    Returns:
        the columns, or None where no terminal shows it.
    """
    if sys.stderr.isatty():
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    told = os.environ.get(VARIABLE, "")
    return int(told) if told.isdecimal() else None


def environment(quiet: bool | str = False) -> dict[str, str]:
    """Variables for a program whose standard error is copied to this one's, beside those that it inherits.

    Args:
        quiet: it shall show no bar.
    """
    width = terminal_width()
    if switch(quiet, "quiet") or os.environ.get(VARIABLE) == QUIET:
        return {VARIABLE: QUIET}
    return {} if width is None else {VARIABLE: str(width)}


def sentence(state: Mapping[str, Any]) -> str:
    """A state in words.

    Args:
        state: ``prefix`` (the name), ``n``, ``initial`` (what was done before), ``total`` or None, ``elapsed`` in
            seconds, ``rate`` a second or None, ``unit``.
    """
    n, total, elapsed, unit = (state[name] for name in ("n", "total", "elapsed", "unit"))
    done = n - state["initial"]
    count = f"{n}/{total} ({100 * n // total} %)" if total else str(n)
    text = f"{state['prefix'].removesuffix(': ')}: {count}"
    if done <= 0 or not elapsed:
        return text
    rate = state["rate"] or done / elapsed
    units = f"{unit}{'es' if unit.endswith('ch') else 's'}"
    speed = f"{rate:.{0 if rate >= 100 else 1}f} {units}/s" if rate >= 1 else f"{1 / rate:.1f} s a {unit}"
    end = f"{duration((total - n) / rate)} left" if total and n < total else f"after {duration(elapsed)}"
    return f"{text}, {speed}, {end}"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
