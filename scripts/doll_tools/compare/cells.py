"""A cell of the benchmark: one initialization, one tuning, some shots, one seed; a training and a scoring."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object

POINTS = 20
"""Validations in a training: the points of its curve."""
CELLS, RECORD, CURVE, SCORES = "cells", "cell.json", "curve.csv", "scores"
"""Folder of all cells; files of a finished cell, and the folder of its scores."""


@dataclass(frozen=True)
class Cell:
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
    return [
        Cell(initialization, tuning, count, seed)
        for seed, count, initialization, tuning in itertools.product(range(seeds), shots, initializations, tunings)
    ]


def values_of(cell: Cell, patterns: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A cell's own overrides, from ``INITIALIZATION/TUNING`` (``*`` is anything) to values; the last match wins."""
    values: dict[str, Any] = {}
    for pattern, overrides in patterns.items():
        if fnmatchcase(f"{cell.initialization}/{cell.tuning}", pattern):
            values.update(overrides)
    return values


def epochs(iterations: int) -> tuple[int, int]:
    """Epochs (one point of the curve each) and iterations in each, whose product is the number of iterations.

    Raises:
        InputError: when it is above 20 and no multiple of 20.
    """
    points = min(POINTS, iterations)
    if iterations < 1 or iterations % points:
        raise InputError(f"iterations must be a multiple of {POINTS}, or fewer, not {iterations}.")
    return points, iterations // points


def read_cells(folder: Path) -> dict[str, dict[str, Any]]:
    """Name of each finished cell of a comparison's folder to its record.

    Raises:
        InputError: when a record cannot be read or is of an earlier version.
    """
    records = {path.parent.name: read_json_object(path) for path in sorted((folder / CELLS).glob(f"*/{RECORD}"))}
    for name, record in records.items():
        if "initialization" not in record:
            raise InputError(f"The cell {name} in {folder} is of an earlier version of doll; give another output.")
    return records
