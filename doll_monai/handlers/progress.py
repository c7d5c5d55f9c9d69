"""Progress of an engine's run."""

from __future__ import annotations

from ignite.engine import Engine, Events

from doll_monai.utils.processes import process_count, process_rank
from doll_monai.utils.progress import Bar


class ProgressHandler:
    """One bar over all iterations of a run, shown by the first of several processes; see ``utils.progress``.

    Ignite's own ``ProgressBar`` draws at every iteration, a line each in a log file, and begins anew every epoch.

    Args:
        name: what the bar says, for example ``train``.
        quiet: show nothing.
        sharded: each process has iterations of its own; the bar says that it shows the first one's.
    """

    def __init__(self, name: str, quiet: bool | str = False, sharded: bool = False) -> None:
        several = sharded and process_count() > 1
        self.name = f"{name}, first of {process_count()} processes" if several else name
        self.quiet = quiet
        self.bar: Bar | None = None

    def attach(self, engine: Engine) -> None:
        """Show the engine's iterations."""
        if process_rank() == 0:
            engine.add_event_handler(Events.ITERATION_STARTED, self._begin)
            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: self.bar and self.bar.update())
            engine.add_event_handler(Events.COMPLETED, self._close)
            engine.add_event_handler(Events.EXCEPTION_RAISED, self._stop)

    def _begin(self, engine: Engine) -> None:
        if self.bar is None:  # what an interrupted run did before says nothing about the rate
            total = (engine.state.max_epochs or 1) * (engine.state.epoch_length or 0) or None
            done = engine.state.iteration - 1
            self.bar = Bar(name=self.name, unit="batch", total=total, initial=done, quiet=self.quiet)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _stop(self, error: BaseException) -> None:
        self._close()
        raise error
