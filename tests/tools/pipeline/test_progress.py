"""A moving bar in a terminal, whole lines with rate and time left elsewhere, nothing when nobody wants to see it."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ignite.engine import Engine, Events

from doll_monai.handlers.progress import ProgressHandler
from doll_monai.utils import progress
from doll_monai.utils.errors import InputError, run_program
from doll_monai.utils.progress import LINE_SECONDS, QUIET, VARIABLE, Bar, duration, environment, sentence
from doll_tools.pipeline.relay import relay
from doll_tools.pipeline.runner import Runner
from doll_tools.pipeline.stages import Stage
from terminal import open_terminal

TRACKING = Path(__file__).resolve().parents[3] / "bundles" / "mlflow.json"
COUNT = """
import sys, time
from doll_monai.utils.progress import Bar
for number in Bar(range(12), name="images"):
    time.sleep(0.05)
"""
LAST = r"images: 12/12 \(100 %\), [\d.]+ images/s, after \d s"
LINES = rf"images: 0/12 \(0 %\)\n{LAST}\n"
STATE = {"prefix": "train", "n": 120, "initial": 0, "total": 960, "elapsed": 22.5, "rate": None, "unit": "batch"}


@pytest.fixture(autouse=True)
def _told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "train: 120/960 (12 %), 5.3 batches/s, 3 min left"),
        ({"rate": 0.25}, "train: 120/960 (12 %), 4.0 s a batch, 56 min left"),
        ({"rate": 250.0, "unit": "image"}, "train: 120/960 (12 %), 250 images/s, 3 s left"),
        ({"n": 960, "elapsed": 7200.0, "rate": 0.1}, "train: 960/960 (100 %), 10.0 s a batch, after 2.0 h"),
        ({"n": 0, "elapsed": 3.0}, "train: 0/960 (0 %)"),
        ({"total": None}, "train: 120, 5.3 batches/s, after 22 s"),
        ({"initial": 100}, "train: 120/960 (12 %), 1.1 s a batch, 16 min left"),
    ],
)
def test_a_state_in_words(changes: dict, expected: str) -> None:
    assert sentence({**STATE, **changes}) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")])
def test_a_duration_in_words(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_without_a_terminal_there_are_whole_lines(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    assert list(Bar(range(3), name="images")) == [0, 1, 2]
    said = capsys.readouterr().err
    assert "\r" not in said
    counts = [line.partition(",")[0] for line in said.splitlines()]
    assert counts == ["images: 0/3 (0 %)", "images: 1/3 (33 %)", "images: 2/3 (66 %)", "images: 3/3 (100 %)"]


def test_lines_are_few(capsys: pytest.CaptureFixture) -> None:
    assert len(list(Bar(range(100_000), name="images"))) == 100_000
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_several_collections_are_counted_together(capsys: pytest.CaptureFixture) -> None:
    with Bar(name="images", total=5) as bar:
        assert [*bar.along("ab"), *bar.along("cde")] == list("abcde")
    assert capsys.readouterr().err.splitlines()[-1].startswith("images: 5/5 (100 %), ")


@pytest.mark.parametrize(("quiet", "variable"), [(True, ""), ("true", ""), (False, QUIET)])
def test_quiet_says_nothing(capsys: pytest.CaptureFixture, monkeypatch, quiet: bool | str, variable: str) -> None:
    monkeypatch.setenv(VARIABLE, variable)
    assert list(Bar(range(3), name="images", quiet=quiet)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_quiet_is_on_or_off() -> None:
    with pytest.raises(InputError, match="quiet must be true or false, not 'perhaps'"):
        Bar(range(3), name="images", quiet="perhaps")


def test_a_terminal_shows_a_moving_bar() -> None:
    with open_terminal(columns=72) as (terminal, got):
        subprocess.run([sys.executable, "-c", COUNT], stderr=terminal, check=True)
    (said,) = got
    states = said.split("\r")
    assert len(states) > 4
    assert re.search(rf"{LAST} \|█+\|", said)
    assert max(len(state.strip()) for state in states) == 72


def test_an_error_begins_a_line_behind_a_bar() -> None:
    program = COUNT.replace("time.sleep(0.05)", "raise InputError('The image is upside down.')")
    program = f"from doll_monai.utils.errors import InputError, explain_errors\nexplain_errors()\n{program}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env={**os.environ, VARIABLE: "60"})
    assert done.returncode == 1
    assert done.stderr.endswith(b"|\nError: The image is upside down.\n")


def _engine(handler: ProgressHandler) -> Engine:
    engine = Engine(lambda _engine, _batch: None)
    handler.attach(engine)
    return engine


def test_a_run_has_one_bar_over_all_epochs(capsys: pytest.CaptureFixture) -> None:
    _engine(ProgressHandler("train")).run([0, 1, 2], max_epochs=4)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "train: 0/12 (0 %)"
    assert re.fullmatch(r"train: 12/12 \(100 %\), \d+ batches/s, after 0 s", last)


@pytest.mark.parametrize(
    ("rank", "expected"),
    [("0", ["labels, first of 2 processes: 0/3 (0 %)", "labels, first of 2 processes: 3/3 (100 %)"]), ("1", [])],
)
def test_of_several_processes_the_first_shows_its_share(capsys, monkeypatch, rank: str, expected: list[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    _engine(ProgressHandler("labels", sharded=True)).run([0, 1, 2])
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("%)")[0] + "%)" for line in lines] == expected


def test_what_was_done_before_an_interruption_is_no_speed(capsys: pytest.CaptureFixture) -> None:
    handler = ProgressHandler("train")
    engine = _engine(handler)
    states = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: states.append((handler.bar.initial, handler.bar.n)))
    engine.load_state_dict({"epoch_length": 3, "max_epochs": 4, "iteration": 9})
    engine.run([0, 1, 2])
    assert states == [(9, 10), (9, 11), (9, 12)]


def _relayed(said: bytes) -> tuple[str, bytes, bytes]:
    log, terminal = io.BytesIO(), io.BytesIO()
    last = relay(io.BufferedReader(io.BytesIO(said)), log, terminal)  # type: ignore[arg-type]
    return last, log.getvalue(), terminal.getvalue()


def test_the_log_of_a_moving_bar_has_its_first_and_last_state() -> None:
    said = "\rtrain: 0/3 (0 %) |   |\rtrain: 1/3 (33 %), 1.0 batches/s, 2 s left |█  |"
    said += "\rtrain: 3/3 (100 %), 1.0 batches/s, after 3 s |███|\n"
    last, log, terminal = _relayed(said.encode())
    assert terminal == said.encode()
    assert log == b"train: 0/3 (0 %)\ntrain: 3/3 (100 %), 1.0 batches/s, after 3 s\n"
    assert last == "train: 3/3 (100 %), 1.0 batches/s, after 3 s"


def test_the_log_of_a_moving_bar_has_a_state_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, int(LINE_SECONDS) // 2))
    monkeypatch.setattr("doll_tools.pipeline.relay.time.monotonic", lambda: float(next(clock)))
    _, log, _ = _relayed(b"".join(b"\r%d/9 |#  |" % number for number in range(10)) + b"\n")
    assert 3 <= len(log.splitlines()) < 10
    assert log.endswith(b"9/9\n")


@pytest.mark.parametrize(
    ("said", "log", "last"),
    [
        ("a\nb", "a\nb\n", "b"),
        ("a\r\n\n  b\r\n", "a\n\n  b\n", "b"),
        ("\r1/2 (50 %) |█ |Error: The image is upside down.\n", "1/2 (50 %)\nError: The image is upside down.\n", None),
        ("\r1/2 (50 %) |5#|", "1/2 (50 %)\n", "1/2 (50 %)"),
        ("| a | b |\n", "| a | b |\n", "| a | b |"),
        ("", "", ""),
    ],
)
def test_the_log_has_whole_lines_and_the_last_is_found(said: str, log: str, last: str | None) -> None:
    found, written, _ = _relayed(said.encode())
    assert written.decode() == log
    assert found == (last if last is not None else "Error: The image is upside down.")


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all tests, it takes seconds to make."""
    folder = tmp_path_factory.mktemp("mlflow") / "mlruns"
    Runner(folder, folder, TRACKING)
    return folder


def _stage(folder: Path) -> Stage:
    program = f"{COUNT}import pathlib; pathlib.Path(sys.argv[1]).mkdir(); print('worked')"
    return Stage("count", ["python", "-c", program, str(folder / "made")], [], folder / "made", [folder / "made"])


def _run(folder: Path, mlruns: Path, quiet: bool = False) -> str:
    """Run a pipeline of the stage alone; its log."""
    Runner(folder, mlruns, TRACKING, quiet=quiet).run([_stage(folder)], "a test")
    return (folder / "logs" / "count.log").read_bytes().decode()


def test_a_pipeline_in_a_terminal_shows_the_bar_and_logs_lines(mlruns, tmp_path, monkeypatch) -> None:
    with open_terminal(columns=72) as (terminal, got), monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        log = _run(tmp_path, mlruns)
    (said,) = got
    assert said.count("\r") > 4
    assert re.search(rf"{LAST} \|█+\|", said)
    assert max(len(state.strip()) for state in said.split("\r")) == 72
    assert re.fullmatch(LINES, log.replace("worked\n", ""))


def test_a_pipeline_elsewhere_says_and_logs_lines(mlruns, tmp_path, capfd) -> None:
    log = _run(tmp_path, mlruns)
    said = capfd.readouterr().err
    assert re.fullmatch(LINES, said)
    assert said == log.replace("worked\n", "")


def test_a_quiet_pipeline_says_nothing_and_skips_what_another_has_done(mlruns, tmp_path, capfd) -> None:
    assert _run(tmp_path, mlruns, quiet=True) == "worked\n"
    assert capfd.readouterr().err == ""
    for quiet in (False, True):
        assert _run(tmp_path, mlruns, quiet) == "worked\n"
        assert "count: done before, its inputs have not changed." in capfd.readouterr().out


def test_programs_that_a_program_starts_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment() == {}
    assert environment(quiet=True) == {VARIABLE: QUIET}
    for value in (QUIET, "100"):
        monkeypatch.setenv(VARIABLE, value)
        assert environment() == {VARIABLE: value}


@pytest.mark.parametrize("arguments", [["--quiet"], ["--quiet", "true"], ["--quiet=True"]])
def test_a_program_takes_the_option(arguments: list[str], capsys: pytest.CaptureFixture, monkeypatch) -> None:
    def program(quiet: bool = False) -> None:
        list(Bar(range(3), name="images", quiet=quiet))

    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    run_program(program)
    assert capsys.readouterr().err == ""
