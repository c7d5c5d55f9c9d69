"""Tasks in a second thread: their order, how many wait, and what becomes of an error."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from doll_monai.utils.background import BackgroundTasks
from doll_monai.utils.errors import InputError


def test_tasks_keep_their_order_beside_the_caller() -> None:
    done: list[int] = []
    threads: set[int] = set()

    def task(number: int) -> None:
        time.sleep(0.01 if number % 2 else 0)
        threads.add(threading.get_ident())
        done.append(number)

    tasks = BackgroundTasks(waiting=3)
    for number in range(12):
        tasks.submit(lambda number=number: task(number))
    tasks.wait()
    assert done == list(range(12))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_no_more_than_so_many_wait() -> None:
    gate, started = threading.Event(), threading.Event()
    tasks = BackgroundTasks(waiting=2)
    tasks.submit(lambda: (started.set(), gate.wait(10))[0])
    assert started.wait(10)
    for _ in range(2):
        tasks.submit(lambda: None)
    blocked = threading.Thread(target=tasks.submit, args=(lambda: None,))
    blocked.start()
    blocked.join(0.1)
    assert blocked.is_alive()
    gate.set()
    blocked.join(10)
    assert not blocked.is_alive()
    tasks.wait()


def test_an_error_stops_what_comes_behind_it() -> None:
    done: list[str] = []
    gate = threading.Event()

    def fail() -> None:
        gate.wait(10)
        raise InputError("The disk is full.")

    tasks = BackgroundTasks(waiting=4)
    tasks.submit(lambda: done.append("before"))
    tasks.submit(fail)
    tasks.submit(lambda: time.sleep(0.2))
    tasks.submit(lambda: done.append("behind"))
    gate.set()
    with pytest.raises(InputError, match="disk is full"):
        tasks.wait()
    tasks.wait()
    assert done == ["before"]


def test_the_next_task_meets_the_error_of_an_earlier_one() -> None:
    def fail() -> None:
        raise InputError("The disk is full.")

    tasks = BackgroundTasks()
    tasks.submit(fail)
    time.sleep(0.1)
    with pytest.raises(InputError, match="disk is full"):
        tasks.submit(lambda: None)


def test_what_was_handed_over_is_done_when_the_program_is_interrupted(tmp_path: Path) -> None:
    program = (
        "import time, pathlib, sys\n"
        "from doll_monai.utils.background import BackgroundTasks\n"
        "tasks = BackgroundTasks()\n"
        "for number in range(3):\n"
        "    tasks.submit(lambda number=number: (time.sleep(0.2), pathlib.Path(sys.argv[1], str(number)).touch()))\n"
        "raise KeyboardInterrupt\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True).returncode != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]
