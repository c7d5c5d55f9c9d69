"""The program that damages films: what it calls a finding, and that the film reader gives it none in a short run."""

from __future__ import annotations

import os
import random
import re
import runpy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doll_monai.utils.errors import InputError

PROGRAM = runpy.run_path(str(Path(__file__).parents[3] / "scripts" / "fuzz_films.py"))


class Stumbling:
    """A film reader that does to a file what its name says."""

    def __call__(self, data: dict[str, str]) -> None:
        {
            "fine": lambda: None,
            "refused": self.refuse,
            "odd": lambda: {}["odd"],
            "crash": lambda: os._exit(3),
            "slow": lambda: time.sleep(20),
            "large": lambda: np.ones(2**29),
        }[data["image"]]()

    def refuse(self) -> None:
        raise InputError("It is no film.")


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Any:
    kind = PROGRAM["Reader"]
    monkeypatch.setitem(kind.start.__globals__["_serve"].__globals__, "LoadFilmd", Stumbling)
    reader = kind(256)
    yield reader
    reader.stop()


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("fine", ""),
        ("refused", "InputError"),
        ("odd", "KeyError: 'odd'"),
        ("crash", "ends the process, exit code 3"),
        ("slow", r"takes more than 0\.5 s"),
        ("large", "MemoryError: Unable to allocate"),
    ],
)
def test_each_mishap_is_told_apart_and_the_next_film_is_read(reader: Any, name: str, outcome: str) -> None:
    found = reader.read(Path(name), 0.5 if name == "slow" else 60)
    assert found == "" if not outcome else re.match(outcome, found)
    assert reader.read(Path("fine"), 60) == ""


def test_damage_is_the_same_for_the_same_seed() -> None:
    content, other = bytes(range(256)) * 4, b"other" * 50
    first, again = ([PROGRAM["damage"](random.Random(seed), content, other) for seed in range(50)] for _ in "ab")
    assert first == again
    assert sum(damaged != content for damaged in first) > 45


def test_a_short_run_finds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PROGRAM["fuzz_films"](str(tmp_path), minutes=0.03, only=".png", seconds=60)
    assert "films of 8 encodings" in capsys.readouterr().out
    assert not (tmp_path / "findings.txt").exists()
    with pytest.raises(InputError, match=r"No encoding's name ends in '\.gif'"):
        PROGRAM["fuzz_films"](str(tmp_path), only=".gif")
