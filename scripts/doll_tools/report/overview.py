"""One picture of a run: images, their labels, the truth, and the task's prediction."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

from PIL import Image, ImageDraw

from doll_monai.data.datalist import write_atomic
from doll_tools.report.images import ImageRow, label_rows, task_rows
from doll_tools.report.run_folder import RunFolder

TILE = 180
GAP = 6
CAPTION = 16


def write_overview(
    run: str | os.PathLike[str], output: str | os.PathLike[str], columns: int = 6, task: bool = True
) -> Path:
    """Write a sheet: above images, in the middle their labels (tinted), below the truth (outlined); last, the task.

    Args:
        run: the pipeline's folder.
        output: PNG file to write.
        columns: images with labels.
        task: one more column for the task's median image.
    """
    folder = RunFolder(run)
    complete = [row for row in label_rows(folder, count=2 * columns) if len(row.pictures) == 3][:columns]
    median = [row for row in task_rows(folder) if row.title.startswith("median")] if task else []
    width = (len(complete) + len(median)) * (TILE + GAP) - GAP
    sheet = Image.new("RGB", (max(width, TILE), 3 * (TILE + GAP) + CAPTION), "white")
    for number, row in enumerate([*complete, *median]):
        _draw(sheet, number * (TILE + GAP), row)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    write_atomic(output, buffer.getvalue())
    return Path(output)


def _draw(sheet: Image.Image, left: int, row: ImageRow) -> None:
    for number, (uri, _) in enumerate(row.pictures):
        picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).resize((TILE, TILE))
        sheet.paste(picture, (left, CAPTION + number * (TILE + GAP)))
    ImageDraw.Draw(sheet).text((left + 2, 2), row.title, fill="black")
