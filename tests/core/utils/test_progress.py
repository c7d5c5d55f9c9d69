"""A moving bar in a terminal, whole lines elsewhere, nothing when nobody wants to see it."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from contextlib import suppress

import pytest
from ignite.engine import Engine, Events

from doll_monai.handlers.progress import ProgressHandler
from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar

COUNT = """
import time
from doll_monai.utils.progress import Bar
for number in Bar(range(12), name="images"):
    time.sleep(0.05)
"""


def counts(said: str) -> list[str]:
    return [line.partition(" [")[0] for line in said.splitlines()]


def test_without_a_terminal_there_are_few_whole_lines(capsys: pytest.CaptureFixture) -> None:
    assert len(list(Bar(range(100_000), name="images"))) == 100_000
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("images: 0/100000 (0 %)")
    assert re.fullmatch(r"images: 100000/100000 \(100 %\) \[00:0\d<00:00, [\d.]+ image/s\]", last)


def test_quiet_says_nothing(capsys: pytest.CaptureFixture) -> None:
    for quiet in (True, "true"):
        assert list(Bar(range(3), name="images", quiet=quiet)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match="quiet must be true or false, not 'perhaps'"):
        Bar(range(3), name="images", quiet="perhaps")
    done = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, check=True, env={**os.environ, "TQDM_DISABLE": "1"}
    )
    assert done.stderr == b""


def test_a_terminal_shows_a_moving_bar() -> None:
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 72, 0, 0))
    subprocess.run([sys.executable, "-c", COUNT], stderr=terminal, check=True)
    os.close(terminal)
    said = b""
    with suppress(OSError):  # how Linux says that nobody has the terminal open any more
        while block := os.read(controller, 4096):
            said += block
    os.close(controller)
    states = said.decode().split("\r")
    assert len(states) > 4
    assert "images: 100%|█" in states[-2] + states[-1]
    assert max(len(state.strip()) for state in states) <= 72


def test_what_is_printed_after_an_error_is_the_last_line(capsys: pytest.CaptureFixture) -> None:
    def fail() -> None:
        for _ in Bar(range(3), name="images"):
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError) as error:
        fail()
    Bar.close_all()
    print("Error", file=sys.stderr)
    del error
    assert capsys.readouterr().err.splitlines()[-1] == "Error"


def _engine(handler: ProgressHandler) -> Engine:
    engine = Engine(lambda _engine, _batch: None)
    handler.attach(engine)
    return engine


def test_a_run_has_one_bar_over_all_epochs(capsys: pytest.CaptureFixture) -> None:
    engine = _engine(ProgressHandler("train"))
    for _ in range(2):
        engine.run([0, 1, 2], max_epochs=4)
        assert counts(capsys.readouterr().err) == ["train: 0/12 (0 %)", "train: 12/12 (100 %)"]


@pytest.mark.parametrize(("rank", "first"), [("0", "labels, first of 2 processes: 0/3 (0 %)"), ("1", None)])
def test_of_several_processes_the_first_shows_its_share(capsys, monkeypatch, rank: str, first: str | None) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    _engine(ProgressHandler("labels", sharded=True)).run([0, 1, 2])
    assert next(iter(counts(capsys.readouterr().err)), None) == first


def test_what_was_done_before_an_interruption_is_no_speed(capsys: pytest.CaptureFixture) -> None:
    handler = ProgressHandler("train")
    engine = _engine(handler)
    states = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: states.append((handler.bar.initial, handler.bar.n)))
    engine.load_state_dict({"epoch_length": 3, "max_epochs": 4, "iteration": 9})
    engine.run([0, 1, 2])
    assert states == [(9, 10), (9, 11), (9, 12)]
    assert counts(capsys.readouterr().err)[0] == "train: 9/12 (75 %)"


def test_the_error_of_a_run_is_raised_behind_its_bar(capsys: pytest.CaptureFixture) -> None:
    engine = _engine(ProgressHandler("train"))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run([0, 1, 2])
    print("Error", file=sys.stderr)
    assert counts(capsys.readouterr().err)[-2:] == ["train: 2/3 (67 %)", "Error"]
