"""Work that goes on in a second thread while the first one computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundTasks:
    """Runs tasks one after the other, in their order, in one thread.

    The thread starts with the first task, hence after a ``DataLoader`` has forked its workers. Tasks that were handed
    over are done even when the interpreter ends, by an interrupt for example.

    Args:
        waiting: how many tasks may wait; bounds the memory that they hold.
    """

    def __init__(self, waiting: int = 4) -> None:
        self.waiting = waiting
        self._executor: ThreadPoolExecutor | None = None
        self._futures: deque[Future[None]] = deque()

    @property
    def begun(self) -> bool:
        """Whether there was any task."""
        return self._executor is not None

    def submit(self, task: Callable[[], None]) -> None:
        """Hand a task over; wait as long as too many are waiting.

        Raises:
            Exception: what an earlier task raised; the tasks behind that one are given up.
        """
        while self._futures and (len(self._futures) > self.waiting or self._futures[0].done()):
            self._take()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._futures.append(self._executor.submit(task))

    def wait(self) -> None:
        """Return when every task is done.

        Raises:
            Exception: what a task raised; the tasks behind that one are given up.
        """
        while self._futures:
            self._take()

    def _take(self) -> None:
        """The oldest task's end. An interrupt while waiting for it changes nothing."""
        try:
            self._futures[0].result()
        except Exception:
            for future in self._futures:
                future.cancel()
            self._futures.clear()
            raise
        self._futures.popleft()
