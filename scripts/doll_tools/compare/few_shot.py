"""``doll compare summarize``: benchmarks of several tasks in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.arguments import list_argument
from doll_tools.compare.image_scores import VALID
from doll_tools.compare.results import ALL, COLUMNS, CURVES, RESULTS, SUMMARY
from doll_tools.markdown import interval, markdown_table

REFERENCE = "scratch"
"""The initialization whose last IoU on valid images the others are timed against."""
FEW_SHOT = ["task", "class", "fold", "network", "initialization", "tuning", "shots", "seed"]
FEW_SHOT += ["iou", "dice", "hd95", "iterations", "split"]
"""Columns of ``few_shot.csv``; ``iterations`` until the reference's last IoU, blank where it is never reached."""


def summarize_comparisons(comparisons: str | Sequence[str], output: str) -> None:
    """Write few_shot.csv, a row a task, cell, class and split, and few_shot.md, the mean IoUs with their intervals.

    Args:
        comparisons: folders that doll compare wrote into, one a task and fold, with commas between.
        output: folder for the two files.
    """
    tables, lines = {}, []
    for folder in map(Path, list_argument(comparisons)):
        table, curves = read_table(folder / RESULTS, COLUMNS), read_table(folder / CURVES, ["iteration", "iou"])
        task, fold = str(table["task"].iloc[0]), table["fold"].fillna("").iloc[0]
        if (task, fold) in tables:
            raise InputError(f"Two comparisons are of the task '{task}'; give one another --task.")
        tables[task, fold] = table[table["split"] != VALID].assign(iterations=iterations_needed(table, curves))
        summary = read_table(folder / SUMMARY, ["split", "initialization", "iou", "iou_low", "iou_high"])
        for row in summary[summary["split"] != VALID].to_dict("records"):
            cell = [str(row[name]) for name in ("shots", "initialization", "tuning", "seeds")]
            name = f"{task}, {fold}" if fold else task
            lines.append([name, *cell, f"{row['images']} of {row['split']}", row["class"], interval(row, "iou")])
    header = ["task", "shots", "initialization", "tuning", "seeds", "images", "class", "IoU"]
    note = f"Mean IoU over images and seeds with 95 % bootstrap intervals; class `{ALL}` is the mean over classes."
    page = f"# Few-shot benchmark\n\n{note}\n\n{markdown_table(header, lines)}\n"
    rows = pd.concat(tables.values())[FEW_SHOT]
    write_atomic(Path(output) / "few_shot.csv", rows.to_csv(index=False).encode())
    write_atomic(Path(output) / "few_shot.md", page.encode())
    print(Path(output) / "few_shot.md")


def iterations_needed(table: pd.DataFrame, curves: pd.DataFrame) -> pd.Series:
    """For each row of ``results.csv``, the first iteration with the last IoU of its reference, NaN where there is none.

    The reference has the same shots and seed and everything trained; IoUs are of valid images.
    """
    last = curves[(curves["initialization"] == REFERENCE) & (curves["tuning"] == "full")]
    last = last.sort_values("iteration").groupby(["shots", "seed"])["iou"].last().rename("goal")
    cells = ["initialization", "tuning", "shots", "seed"]
    reached = curves.merge(last, left_on=["shots", "seed"], right_index=True)
    first = reached[reached["iou"] >= reached["goal"]].groupby(cells)["iteration"].min()
    return pd.Series(first.reindex(pd.MultiIndex.from_frame(table[cells])).to_numpy(), index=table.index)


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
