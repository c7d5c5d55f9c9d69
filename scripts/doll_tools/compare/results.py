"""The finished cells of a folder as tables."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.utils.atomic import write_atomic
from doll_tools.compare.cells import CELLS, CURVE, SCORES, read_cells
from doll_tools.compare.image_scores import FILE, METRICS
from doll_tools.compare.initializations import KNOWN
from doll_tools.compare.statistics import SEEDED, differences, iterations_to_95, summarize, with_class_means

RESULTS, IMAGES, CURVES = "results.csv", "images.csv", "curves.csv"
SUMMARY, DIFFERENCES = "summary.csv", "differences.csv"
COLUMNS = ["task", *SEEDED, "class", *METRICS, "trainable_parameters", "total_parameters", "seconds"]
COLUMNS += ["iterations_to_95", "split"]
"""Columns of ``results.csv``."""


class Results:
    """What the finished cells of a comparison's folder measured, from all commands that worked in it.

    Attributes:
        cells: the records of cells, one row each, with ``name`` and ``iterations_to_95``.
        images: one row a cell, image and class: the cell, ``split``, ``image``, ``patient``, ``class`` and the scores.
        curves: one row a cell and validation: the cell, ``iteration``, ``iou``, ``dice``; means over valid images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        cells, images, curves = [], [pd.DataFrame()], [pd.DataFrame()]
        for name, record in sorted(read_cells(folder).items(), key=lambda item: _place(item[1])):
            scores = folder / CELLS / name / SCORES / FILE
            if scores.is_file():
                curve = pd.read_csv(folder / CELLS / name / CURVE)
                key = {column: record[column] for column in SEEDED}
                cells.append({**record, "iterations_to_95": iterations_to_95(curve), "name": name})
                table = pd.read_csv(scores, dtype={"image": str, "patient": str, "class": str})
                images.append(pd.DataFrame(key, table.index).join(table))
                curves.append(pd.DataFrame(key, curve.index).join(curve))
        self.cells = pd.DataFrame(cells)
        self.images, self.curves = (pd.concat(tables, ignore_index=True) for tables in (images, curves))

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a cell, split and class; scores are means over images."""
        means = self.images.groupby([*SEEDED, "class", "split"], as_index=False, sort=False)[list(METRICS)].mean()
        return means.merge(self.cells, on=SEEDED, validate="many_to_one")[COLUMNS]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Means with intervals, see ``summarize``."""
        return summarize(with_class_means(self.images))

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Paired differences, see ``doll_tools.compare.statistics.differences``."""
        return differences(with_class_means(self.images))

    def write(self) -> list[Path]:
        """Write ``results.csv``, ``images.csv`` and ``curves.csv`` anew; nothing while no cell is finished."""
        if self.cells.empty:
            return []
        return self._write({RESULTS: self.table, IMAGES: self.images, CURVES: self.curves})

    def write_statistics(self) -> list[Path]:
        """Write ``summary.csv`` and ``differences.csv``."""
        return self._write({SUMMARY: self.summary, DIFFERENCES: self.differences})

    def _write(self, tables: dict[str, pd.DataFrame]) -> list[Path]:
        for name, table in tables.items():
            write_atomic(self.folder / name, table.round(5).to_csv(index=False).encode())
        return [self.folder / name for name in tables]


def _place(record: dict[str, Any]) -> tuple[Any, ...]:
    """A cell's place in the tables: the known initializations first, and full tuning before the others."""
    name, tuning = record["initialization"], record["tuning"]
    place = [*KNOWN, name].index(name)
    return record["shots"], place, name, tuning != "full", tuning, record["seed"]
