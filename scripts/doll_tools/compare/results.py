"""The finished cells of a folder as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.handlers.image_scores import FILE, METRICS
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.starts import KNOWN
from doll_tools.compare.statistics import CELL, iterations_to_95

CELLS, RECORD, CURVE, SCORES = "cells", "cell.json", "curve.csv", "scores"
RESULTS, IMAGES, CURVES = "results.csv", "images.csv", "curves.csv"
COLUMNS = [
    *("task", *CELL, "seed", "class", *METRICS),
    *("trainable_parameters", "total_parameters", "seconds", "iterations_to_95", "split"),
]


class Results:
    """What the finished cells of a comparison's folder measured, from all commands that worked in it.

    Attributes:
        cells: one row a cell: ``task``, ``init``, ``tuning``, ``shots``, ``seed``, its own ``values``, parameters,
            ``seconds``, ``name``, ``iterations_to_95``.
        images: one row a cell, image and class: the cell, ``split``, ``image``, ``patient``, ``class`` and the scores.
        curves: one row a cell and validation: the cell, ``iteration``, ``iou``, ``dice``; means over valid images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        cells, images, curves = [], [], []
        for name, record in sorted(read_cells(folder).items(), key=lambda item: _place(item[1])):
            path = folder / CELLS / name
            scores = path / SCORES / FILE
            if not scores.is_file():
                continue
            curve = pd.read_csv(path / CURVE)
            cells.append({**record, "iterations_to_95": iterations_to_95(curve), "name": name})
            key = {name: record[name] for name in (*CELL, "seed")}
            images.append(pd.read_csv(scores, dtype={"image": str, "patient": str, "class": str}).assign(**key))
            curves.append(curve.assign(**key))
        self.cells = pd.DataFrame(cells)
        self.images = pd.concat(images, ignore_index=True) if images else pd.DataFrame()
        self.curves = pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()

    def table(self) -> pd.DataFrame:
        """``results.csv``: a row a cell, split and class; scores are means over images."""
        keys = [*CELL, "seed", "class", "split"]
        means = self.images.groupby(keys, as_index=False, sort=False)[list(METRICS)].mean()
        return means.merge(self.cells, on=[*CELL, "seed"], validate="many_to_one")[COLUMNS]

    def write(self) -> list[Path]:
        """Write ``results.csv``, ``images.csv`` and ``curves.csv`` anew; nothing while no cell is finished."""
        if self.cells.empty:
            return []
        columns = [*CELL, "seed", "split", "image", "patient", "class", *METRICS]
        contents = {
            RESULTS: self.table().round(5),
            IMAGES: self.images[columns].round(5),
            CURVES: self.curves[[*CELL, "seed", "iteration", "iou", "dice"]].round(5),
        }
        for name, table in contents.items():
            write_atomic(self.folder / name, table.to_csv(index=False).encode())
        return [self.folder / name for name in contents]


def _place(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """A cell's place in the tables: the known starts first, in their order, and full tuning before the others."""
    init, tuning = record["init"], record["tuning"]
    start = KNOWN.index(init) if init in KNOWN else len(KNOWN)
    return record["shots"], start, init, tuning != "full", tuning, record["seed"]


def read_cells(folder: Path) -> dict[str, dict[str, Any]]:
    """Name of each finished cell of a comparison's folder to its record."""
    return {path.parent.name: read_json_object(path) for path in (folder / CELLS).glob(f"*/{RECORD}")}


def write_cell(folder: Path, record: dict[str, Any], curve: pd.DataFrame) -> None:
    """Write a finished cell's curve and record; the record comes last, with it the cell is finished."""
    write_atomic(folder / CURVE, curve.to_csv(index=False).encode())
    write_atomic(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode())
