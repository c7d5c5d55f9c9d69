"""The finished cells of a folder as tables: scores over seeds and images, and how cells differ."""

from __future__ import annotations

import itertools
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.utils.atomic import write_atomic
from doll_tools.compare.cells import CELLS, CURVE, SCORES, read_cells
from doll_tools.compare.image_scores import FILE, METRICS, VALID
from doll_tools.compare.initializations import KNOWN
from doll_tools.intervals import crossed_interval

CELL = ["initialization", "tuning", "shots"]
SEEDED = [*CELL, "seed"]
IMAGE = ["seed", "image", "patient"]
ALL = "all"
"""Stands for the mean over all classes of an image."""
CHOSEN = "best on valid"
"""Says of a pair that each initialization has the tuning that is best on valid images."""
RESULTS, IMAGES, CURVES = "results.csv", "images.csv", "curves.csv"
SUMMARY, DIFFERENCES = "summary.csv", "differences.csv"
COLUMNS = ["task", "fold", "network", *SEEDED, "class", *METRICS, "trainable_parameters", "total_parameters", "seconds"]
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
        """Paired differences, see the function of this name."""
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


def with_class_means(images: pd.DataFrame) -> pd.DataFrame:
    """Scores of cells, splits, images and classes, and first each image's mean over its classes, the class ``all``."""
    keys = [*CELL, *IMAGE, "split"]
    means = images.groupby(keys, as_index=False, sort=False)[list(METRICS)].mean().assign(**{"class": ALL})
    return pd.concat([means, images], ignore_index=True)


def summarize(images: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval of each score, a row a split, cell (all its seeds) and class, of ``with_class_means``."""
    keys = ["split", "shots", "initialization", "tuning", "class"]
    groups = images.groupby(keys, sort=False)
    return pd.DataFrame([{**dict(zip(keys, key, strict=True)), **_scores(part)} for key, part in groups])


def differences(images: pd.DataFrame) -> pd.DataFrame:
    """Paired differences of cells, over the seeds and images that both have.

    Cells are compared that differ in initialization or tuning alone, and initializations that each have their tuning
    chosen on valid images; test images are not looked at for that. A row has ``first`` and ``second`` as
    ``INITIALIZATION/TUNING``, and the difference first minus second of each score, of ``with_class_means``.
    """
    valid = images[(images["class"] == ALL) & (images["split"] == VALID)]
    on_valid = valid.groupby(CELL, sort=False)["iou"].mean().reset_index()
    rows = []
    for key, part in images.groupby(["split", "shots", "class"], sort=False):
        cells: dict[Any, pd.DataFrame] = dict(iter(part.groupby(["initialization", "tuning"], sort=False)))
        best = on_valid[on_valid["shots"] == key[1]]
        best = best.loc[best.groupby("initialization", sort=False)["iou"].idxmax()]
        pairs = [(a, b, "") for a, b in itertools.combinations(cells, 2) if (a[0] == b[0]) != (a[1] == b[1])]
        chosen = list(zip(best["initialization"], best["tuning"], strict=True))
        pairs += [(*pair, CHOSEN) for pair in itertools.combinations(chosen, 2)]
        for second, first, why in pairs:
            if first in cells and second in cells:
                one, other = (cells[cell].set_index(IMAGE)[list(METRICS)] for cell in (first, second))
                row = dict(zip(["split", "shots", "class"], key, strict=True)) | {"chosen": why}
                row |= {"first": "/".join(first), "second": "/".join(second)}
                rows.append({**row, **_scores((one - other).dropna().reset_index())})
    return pd.DataFrame(rows)


def iterations_to_95(curve: pd.DataFrame) -> float:
    """First ``iteration`` with 95 % of a validation curve's last ``iou``; NaN of an empty curve."""
    if curve.empty:
        return float("nan")
    reached = curve.loc[curve["iou"] >= 0.95 * float(curve["iou"].iloc[-1]), "iteration"]
    return float(reached.iloc[0])


def _scores(table: pd.DataFrame) -> dict[str, Any]:
    """Mean and interval of each score over seeds and patients, and how many seeds and images they are of."""
    row: dict[str, Any] = {"seeds": table["seed"].nunique(), "images": table["image"].nunique()}
    for metric in METRICS:
        ends = crossed_interval(table[metric], list(table["patient"]), list(table["seed"]))
        row |= zip((metric, f"{metric}_low", f"{metric}_high"), ends, strict=True)
    return row


def _place(record: dict[str, Any]) -> tuple[Any, ...]:
    """A cell's place in the tables: the known initializations first, and full tuning before the others."""
    name, tuning = record["initialization"], record["tuning"]
    place = [*KNOWN, name].index(name)
    return record["shots"], place, name, tuning != "full", tuning, record["seed"]
