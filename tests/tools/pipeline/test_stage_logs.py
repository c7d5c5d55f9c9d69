"""What the stages of a pipeline say on standard error is copied to the terminal and to their logs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from doll_tools.pipeline.runner import Runner
from doll_tools.pipeline.stages import Stage

PROGRAM = """
import pathlib, sys
from doll_monai.utils.progress import Bar
list(Bar(range(12), name="images"))
pathlib.Path(sys.argv[1]).mkdir()
print("worked")
"""
LINES = r"images: 0/12 \(0 %\) .*\nimages: 12/12 \(100 %\) .*\n"


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all tests, it takes seconds to make."""
    folder = tmp_path_factory.mktemp("mlflow") / "mlruns"
    Runner(folder, folder)
    return folder


def _run(folder: Path, mlruns: Path, quiet: bool = False) -> str:
    """Run a pipeline of one stage; its log."""
    stage = Stage("count", ["python", "-c", PROGRAM, str(folder / "made")], [], folder / "made", [folder / "made"])
    Runner(folder, mlruns, quiet=quiet).run([stage], "a test")
    return (folder / "logs" / "count.log").read_bytes().decode()


def test_a_pipeline_says_and_logs_whole_lines(mlruns, tmp_path, capfd) -> None:
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
