"""A cell: one start, one tuning, some shots, one seed; trained by one command and scored by another."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

POINTS = 20
"""Validations in a training: the points of its curve."""


@dataclass(frozen=True)
class Cell:
    """What one training is."""

    init: str
    tuning: str
    shots: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder, stages and MLflow run."""
        return f"{self.init}_{self.tuning}_shots{self.shots}_seed{self.seed}"


def grid(inits: Sequence[str], tunings: Sequence[str], shots: Sequence[int], seeds: int) -> list[Cell]:
    """All cells, seed by seed, so that an unfinished grid has pairs to compare."""
    return [
        Cell(init, tuning, count, seed)
        for seed, count, init, tuning in itertools.product(range(seeds), shots, inits, tunings)
    ]


def values_of(cell: Cell, patterns: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A cell's own overrides; of several patterns that match, the later one wins.

    Args:
        cell: the cell.
        patterns: ``INIT/TUNING``, where ``*`` stands for anything, to overrides.
    """
    values: dict[str, Any] = {}
    for pattern, overrides in patterns.items():
        if fnmatchcase(f"{cell.init}/{cell.tuning}", pattern):
            values.update(overrides)
    return values


def epochs(iterations: int) -> tuple[int, int]:
    """Epochs (one point of the curve each) and iterations in each, whose product is the number of iterations.

    Raises:
        ValueError: when it is above 20 and no multiple of 20.
    """
    points = min(POINTS, iterations)
    if iterations < 1 or iterations % points:
        raise ValueError(f"iterations must be a multiple of {POINTS}, or fewer, not {iterations}")
    return points, iterations // points
