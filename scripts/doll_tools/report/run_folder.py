"""Reading the folder of a pipeline's run, any part of which may be missing."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.utils.errors import InputError

NO_VALUE = "\N{EN DASH}"
"""What stands in the page for a number that is none."""


class RunFolder:
    """A folder that the pipeline wrote.

    Args:
        root: the folder; it has a ``pipeline.json``.

    Raises:
        InputError: when there is no ``pipeline.json``, or it cannot be read.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        path = self.root / "pipeline.json"
        try:
            self.pipeline: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"{self.root} has no pipeline.json; give --run the folder that doll run wrote.") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}); run doll run again.") from error
        if not isinstance(self.pipeline, dict):
            raise InputError(f"{path} must hold one JSON object; run doll run again.")

    @property
    def chexpert(self) -> Path:
        """Folder of the images that were classified and explained."""
        return Path(self.pipeline.get("chexpert") or self.root / "missing")

    @property
    def task(self) -> str:
        """Name of the segmentation task, also that of its folder."""
        return str(self.pipeline.get("task") or "lung")

    @property
    def task_data(self) -> Path:
        """Folder of the task's images."""
        return Path(self.pipeline.get("task_data") or self.root / "missing")

    @property
    def stages(self) -> list[dict[str, Any]]:
        """The stages that were run, each with its ``name``, ``command`` and ``seconds``."""
        return list(self.pipeline.get("stages") or [])

    def table(self, name: str, columns: tuple[str, ...] = ()) -> pd.DataFrame | None:
        """A CSV file with a header below the folder; None when it is missing or has no row.

        Raises:
            InputError: when it is no table, or lacks a column.
        """
        return self._read(name, columns, header="infer")

    def rows(self, name: str) -> pd.DataFrame | None:
        """A CSV file without a header below the folder; None when it is missing or empty."""
        return self._read(name, (), header=None)

    def metrics(self, name: str) -> dict[str, float | None]:
        """Metrics as ``monai.handlers.MetricsSaver`` writes them, a name and a value a line; {} when missing."""
        rows = self.rows(name)
        return {} if rows is None else {str(row[0]): finite(row[1]) for row in rows.itertuples(index=False)}

    def datalist(self, name: str) -> dict[str, Any]:
        """A ``dataset.json`` as it stands there; {} when missing."""
        try:
            content = json.loads((self.root / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InputError(f"{self.root / name} cannot be read: {error}.") from error
        return content if isinstance(content, dict) else {}

    def _read(self, name: str, columns: tuple[str, ...], header: Any) -> pd.DataFrame | None:
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
    return Path(os.path.relpath(path, folder)).as_posix() if os.path.isabs(path) else Path(path).as_posix()
