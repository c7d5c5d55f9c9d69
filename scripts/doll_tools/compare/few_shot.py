"""``doll compare summarize``: benchmarks of several tasks in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.arguments import list_argument
from doll_tools.compare.image_scores import VALID
from doll_tools.compare.results import ALL, COLUMNS, RESULTS, SUMMARY
from doll_tools.markdown import interval, markdown_table


def summarize_comparisons(comparisons: str | Sequence[str], output: str) -> None:
    """Write few_shot.csv, a row a task, cell, class and split, and few_shot.md, the mean IoUs with their intervals.

    Args:
        comparisons: folders that doll compare wrote into, one a task, with commas between.
        output: folder for the two files.
    """
    tables, lines = {}, []
    for folder in map(Path, list_argument(comparisons)):
        table = read_table(folder / RESULTS, COLUMNS)
        task = str(table["task"].iloc[0])
        if task in tables:
            raise InputError(f"Two comparisons are of the task '{task}'; give one another --task.")
        tables[task] = table
        summary = read_table(folder / SUMMARY, ["split", "initialization", "iou", "iou_low", "iou_high"])
        for row in summary[summary["split"] != VALID].to_dict("records"):
            cell = [str(row[name]) for name in ("shots", "initialization", "tuning", "seeds")]
            lines.append([task, *cell, f"{row['images']} of {row['split']}", row["class"], interval(row, "iou")])
    header = ["task", "shots", "initialization", "tuning", "seeds", "images", "class", "IoU"]
    note = f"Mean IoU over images and seeds with 95 % bootstrap intervals; class `{ALL}` is the mean over classes."
    page = f"# Few-shot benchmark\n\n{note}\n\n{markdown_table(header, lines)}\n"
    write_atomic(Path(output) / "few_shot.csv", pd.concat(tables.values()).to_csv(index=False).encode())
    write_atomic(Path(output) / "few_shot.md", page.encode())
    print(Path(output) / "few_shot.md")


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table that ``doll compare`` wrote; ``InputError`` when it cannot be read, lacks a column or has no row."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read; give a folder that doll compare wrote into.") from error
    missing = [column for column in columns if column not in table]
    if missing or table.empty:
        what = f"no column {missing[0]}" if missing else "no rows"
        raise InputError(f"{path} has {what}; give a folder that doll compare wrote into, or run it again.")
    return table
