"""A cell of the benchmark: one initialization, one tuning, some shots, one seed; a training and a scoring."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object

POINTS = 20
"""Validations in a training: the points of its curve."""
CELLS, RECORD, CURVE, SCORES = "cells", "cell.json", "curve.csv", "scores"
"""Folder of all cells; files of a finished cell, and the folder of its scores."""


class Cell(NamedTuple):
    """What one training is."""

    initialization: str
    tuning: str
    shots: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder, stages and MLflow run."""
        return f"{self.initialization}_{self.tuning}_shots{self.shots}_seed{self.seed}"


def grid(initializations: Sequence[str], tunings: Sequence[str], shots: Sequence[int], seeds: int) -> list[Cell]:
    """All cells, seed by seed, so that an unfinished grid has pairs to compare."""
    cells = itertools.product(range(seeds), shots, initializations, tunings)
    return [Cell(initialization, tuning, count, seed) for seed, count, initialization, tuning in cells]


def values_of(cell: Cell, patterns: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A cell's own overrides, from ``INITIALIZATION/TUNING`` (``*`` is anything) to values; the last match wins."""
    matching = [values for pattern, values in patterns.items() if fnmatchcase("/".join(cell[:2]), pattern)]
    return {name: value for values in matching for name, value in values.items()}


def epochs(iterations: int) -> tuple[int, int]:
    """Epochs (a point of the curve each) and iterations in each; ``InputError`` when that is no whole number."""
    points = min(POINTS, iterations)
    if iterations % points:
        raise InputError(f"iterations must be a multiple of {POINTS}, or fewer, not {iterations}.")
    return points, iterations // points


def read_cells(folder: Path) -> dict[str, dict[str, Any]]:
    """Name of each finished cell of a comparison's folder to its record; ``InputError`` for an unreadable one."""
    return {path.parent.name: read_json_object(path) for path in sorted((folder / CELLS).glob(f"*/{RECORD}"))}
