"""One progress bar for a whole run."""

from __future__ import annotations

from ignite.engine import Engine, Events

from doll_monai.utils.processes import process_count, process_rank
from doll_monai.utils.progress import Bar


class ProgressHandler:
    """Shows iterations of the whole run with rate and time left, see ``doll_monai.utils.progress``.

    Of several processes (``torchrun``) the first one alone shows them.

    Args:
        name: what the bar says, for example ``train``.
        unit: what an iteration is.
        quiet: show nothing.
        sharded: each of several processes has iterations of its own; the bar says that it shows the first one's.
    """

    def __init__(self, name: str, unit: str = "batch", quiet: bool | str = False, sharded: bool = False) -> None:
        self.name = name
        self.unit = unit
        self.quiet = quiet
        self.sharded = sharded
        self.bar: Bar | None = None

    def attach(self, engine: Engine) -> None:
        """Show the engine's iterations."""
        if process_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.COMPLETED, self._close)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._stop)

    def _start(self, engine: Engine) -> None:
        total = (engine.state.max_epochs or 1) * (engine.state.epoch_length or 0)
        several = self.sharded and process_count() > 1
        name = f"{self.name}, first of {process_count()} processes" if several else self.name
        self.bar = Bar(name=name, unit=self.unit, total=total or None, quiet=self.quiet)

    def _step(self, engine: Engine) -> None:
        if self.bar is None:
            return
        if self.bar.n == 0:  # a resumed run: what was done before says nothing about the rate
            self.bar.initial = self.bar.n = self.bar.last_print_n = engine.state.iteration - 1
        self.bar.update(engine.state.iteration - self.bar.n)

    def _close(self, _engine: Engine) -> None:
        if self.bar is not None:
            self.bar.close()

    def _stop(self, engine: Engine, error: BaseException) -> None:
        self._close(engine)
        raise error
