"""Reading the folder of a pipeline's run, any part of which may be missing."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object

NO_VALUE = "\N{EN DASH}"
"""What stands in the page for a number that is none."""


class RunFolder:
    """A folder that the pipeline wrote.

    Attributes:
        pipeline: the content of its ``pipeline.json``.
        chexpert: folder of the images that were classified and explained.
        task: name of the segmentation task, also that of its folder.
        task_data: folder of the task's images.
        stages: what was run, each with its ``name``, ``command`` and ``seconds``.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.pipeline = read_json_object(self.root / "pipeline.json", "give --run the folder of a finished doll run")
        self.chexpert = Path(self.pipeline.get("chexpert") or self.root / "missing")
        self.task = str(self.pipeline.get("task") or "lung")
        self.task_data = Path(self.pipeline.get("task_data") or self.root / "missing")
        self.stages: list[dict[str, Any]] = list(self.pipeline.get("stages") or [])

    def table(self, name: str, columns: tuple[str, ...] = (), header: Any = "infer") -> pd.DataFrame | None:
        """A CSV file below the folder, without a header where that is None; None when it is missing or has no row.

        ``InputError`` when it is no table, or lacks one of the columns.
        """
        path = self.root / name
        try:
            table = pd.read_csv(path, header=header)
        except (FileNotFoundError, pd.errors.EmptyDataError):
            return None
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is no table: {error}. Delete it and run the pipeline again.") from error
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise InputError(f"{path} has no column {', '.join(missing)}; delete it and run the pipeline again.")
        return None if table.empty else table

    def metrics(self, name: str) -> dict[str, float | None]:
        """Metrics as ``monai.handlers.MetricsSaver`` writes them, a name and a value a line; {} when missing."""
        rows = self.table(name, header=None)
        return {} if rows is None else {str(row[0]): finite(row[1]) for row in rows.itertuples(index=False)}

    def datalist(self, name: str) -> dict[str, Any]:
        """A JSON object below the folder; {} when missing."""
        path = self.root / name
        return read_json_object(path, "run the pipeline again") if path.is_file() else {}

    def records(self, name: str) -> dict[str, dict[str, Any]]:
        """Image to its record of a ``dataset.json``, with its ``section``."""
        sections = {key: value for key, value in self.datalist(name).items() if isinstance(value, list)}
        return {row["image"]: {**row, "section": section} for section, rows in sections.items() for row in rows}


def finite(value: Any) -> float | None:
    """A number, or None for what is none (NaN, infinity, text)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def figure(value: Any, digits: int = 3) -> str:
    """A number with so many digits behind the point, a dash for none."""
    number = finite(value)
    return NO_VALUE if number is None else f"{number:.{digits}f}"


def relative_to(path: str, folder: Path) -> str:
    """An image's path below the data set's folder, with forward slashes; as it is when it is relative already."""
    return Path(os.path.relpath(path, folder) if os.path.isabs(path) else path).as_posix()
