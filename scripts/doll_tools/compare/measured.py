"""Finished comparisons, one a task, as they lie in their folders."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.handlers.image_scores import METRICS
from doll_monai.metrics.paired_differences import CELL, IMAGE
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.results import COLUMNS, CURVES, IMAGES, RESULTS, read_cells

SETTINGS = "settings.json"
NEEDED = {
    RESULTS: COLUMNS,
    IMAGES: [*CELL, *IMAGE, "split", "class", *METRICS],
    CURVES: [*CELL, "seed", "iteration", "iou"],
}
"""Columns of the files that a comparison writes."""


@dataclass(frozen=True)
class MeasuredTask:
    """What a comparison measured.

    Attributes:
        name: of the task.
        settings: ``settings.json``.
        results, images, curves: the tables of these names.
        values: ``INIT/TUNING`` to the values of the bundle that those cells do not share with the others.
    """

    name: str
    settings: Mapping[str, Any]
    results: pd.DataFrame
    images: pd.DataFrame
    curves: pd.DataFrame
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(dict.fromkeys(self.images["class"]))

    def cells(self, shots: int) -> list[tuple[str, str]]:
        """Init and tuning of the finished cells, in the order of the table."""
        rows = self.results[self.results["shots"] == shots]
        return list(dict.fromkeys(zip(rows["init"], rows["tuning"], strict=True)))

    def scores(
        self, cell: tuple[str, str], shots: int, split: str, classes: Collection[str] | None = None
    ) -> pd.DataFrame:
        """Scores of a cell, a row a seed and image: means over the image's classes, or over some of them."""
        rows = self.images[_of_cell(self.images, cell, shots) & (self.images["split"] == split)]
        if classes is not None:
            rows = rows[rows["class"].isin(classes)]
        return rows.groupby(IMAGE, as_index=False, sort=False)[list(METRICS)].mean()

    def curves_of(self, cell: tuple[str, str], shots: int) -> dict[int, pd.DataFrame]:
        """Seed to the curve of a cell."""
        curves = self.curves[_of_cell(self.curves, cell, shots)]
        return {int(seed): curves[curves["seed"] == seed] for seed in sorted(curves["seed"].unique())}

    def trainable_share(self, cell: tuple[str, str], shots: int) -> float:
        """Trained part of a cell's parameters, 0 ... 1."""
        row = self.results[_of_cell(self.results, cell, shots)].iloc[0]
        return float(row["trainable_parameters"] / row["total_parameters"])


def _of_cell(table: pd.DataFrame, cell: tuple[str, str], shots: int) -> pd.Series:
    return (table["init"] == cell[0]) & (table["tuning"] == cell[1]) & (table["shots"] == shots)


def read_task(folder: Path) -> MeasuredTask:
    """Read a comparison's folder.

    Raises:
        InputError: when a file or a column is missing, or no cell is finished.
    """
    tables = {name: _read(folder / name, columns) for name, columns in NEEDED.items()}
    settings = read_json_object(folder / SETTINGS)
    values = {
        f"{cell['init']}/{cell['tuning']}": cell["values"] for cell in read_cells(folder).values() if cell["values"]
    }
    return MeasuredTask(str(settings["task"]), settings, tables[RESULTS], tables[IMAGES], tables[CURVES], values)


def read_tasks(folders: Sequence[Path]) -> list[MeasuredTask]:
    """Read several comparisons.

    Raises:
        InputError: when two are of the same task; see also ``read_task``.
    """
    tasks = [read_task(folder) for folder in folders]
    names = [task.name for task in tasks]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise InputError(f"Two comparisons are of the task '{double[0]}'; give one a task.")
    return tasks


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    texts = dict.fromkeys(("task", "init", "tuning", "image", "patient", "class", "split"), str)
    try:
        table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read; give folders that compare_initializations wrote into.") from error
    missing = [column for column in columns if column not in table]
    if missing or table.empty:
        what = f"no column {missing[0]}" if missing else "no rows"
        raise InputError(f"{path} has {what}; give folders that compare_initializations wrote into.")
    return table
