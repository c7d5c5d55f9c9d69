"""What a chunk of labels leaves behind: rows of the table, and images that could not be read."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from doll_monai.utils.atomic import write_atomic

COLUMNS = ("image", "observation", "probability", "completeness_error", "n_steps", "foreground_share", "agreement")
"""Columns of ``labels.csv``; earlier tables lack ``agreement``."""
FAILURE_COLUMNS = ("image", "reason")
"""Columns of ``failures.csv``."""


def write_chunk(path: Path, rows: Sequence[Mapping[str, Any]], failures: Mapping[str, str]) -> None:
    """Write one chunk's file: its rows, then one line with a ``reason`` for each image without a label.

    Args:
        path: the file.
        rows: values by ``COLUMNS``; None is blank.
        failures: image to reason.
    """
    lines = [[*(row[column] for column in COLUMNS), None] for row in rows]
    lines += [[image, *[None] * (len(COLUMNS) - 1), reason] for image, reason in failures.items()]
    write_table(path, (*COLUMNS, "reason"), lines)


def read_chunk(path: Path) -> tuple[list[list[str]], dict[str, str]]:
    """A chunk's rows, as text in the order of ``COLUMNS``, and its failures, image to reason."""
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = [[line.get(column) or "" for column in COLUMNS] for line in lines if not line.get("reason")]
    return rows, {line["image"]: line["reason"] for line in lines if line.get("reason")}


def write_table(path: str | os.PathLike[str], columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, whole or not at all."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    write_atomic(path, buffer.getvalue().encode())
