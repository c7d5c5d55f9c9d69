"""One progress bar for a whole run."""

from __future__ import annotations

import sys

from ignite.engine import Engine, Events
from tqdm import tqdm


class ProgressHandler:
    """Shows iterations of the whole run with rate and time left.

    On a terminal the bar moves; in a log file it is a line from time to time.

    Args:
        name: what the bar says, for example ``train``.
        unit: what an iteration is.
    """

    def __init__(self, name: str, unit: str = "batch") -> None:
        self.name = name
        self.unit = unit
        self.bar: tqdm | None = None

    def attach(self, engine: Engine) -> None:
        """Show the engine's iterations."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.COMPLETED, self._close)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._stop)

    def _start(self, engine: Engine) -> None:
        total = (engine.state.max_epochs or 1) * (engine.state.epoch_length or 0)
        interval = 0.1 if sys.stderr.isatty() else 20.0
        self.bar = tqdm(total=total or None, desc=self.name, unit=self.unit, mininterval=interval, dynamic_ncols=True)

    def _step(self, engine: Engine) -> None:
        if self.bar is not None:
            self.bar.update(engine.state.iteration - self.bar.n)

    def _close(self, _engine: Engine) -> None:
        if self.bar is not None:
            self.bar.close()

    def _stop(self, engine: Engine, error: BaseException) -> None:
        self._close(engine)
        raise error
