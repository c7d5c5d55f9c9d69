"""The comparison as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from doll_tools.compare.image_scores import VALID
from doll_tools.compare.results import ALL, CELL, Results
from doll_tools.markdown import interval, markdown_table, number, render

TEMPLATE = Path(__file__).with_name("comparison.md.j2")
NAMES = {"iou": "IoU", "dice": "Dice", "hd95": "HD95"}


def page(settings: Mapping[str, Any], results: Results) -> str:
    """The page, of ``Plan.settings`` and the finished cells."""
    pairs = results.differences
    pairs = pairs[(pairs["split"] != VALID) & (pairs["class"] == ALL)] if len(pairs) else pd.DataFrame({"split": []})
    first = results.cells.sort_values(["shots", "seed"], kind="stable").drop_duplicates(CELL)
    return render(
        TEMPLATE,
        settings=settings,
        trainings=len(results.cells),
        scores={split: _scores(rows) for split, rows in results.summary.groupby("split")},
        pairs={split: _pairs(rows) for split, rows in pairs.groupby("split")},
        learning=_learning(results.cells),
        names=list(first["name"]),
    )


def _scores(rows: pd.DataFrame) -> str:
    """Scores of each cell, with the IoU of each class where there are several."""
    classes = [name for name in dict.fromkeys(rows["class"]) if name != ALL]
    classes = classes if len(classes) > 1 else []
    keys, lines = ["shots", "initialization", "tuning"], []
    for key, part in rows.sort_values("shots", kind="stable").groupby(keys, sort=False):
        by_class = part.set_index("class").to_dict("index")
        scores = [interval(by_class[ALL], name) for name in NAMES]
        lines.append([*map(str, key), *scores, *(interval(by_class[name], "iou") for name in classes)])
    return markdown_table([*keys, *NAMES.values(), *(f"IoU {name}" for name in classes)], lines)


def _pairs(rows: pd.DataFrame) -> str:
    lines = []
    for row in rows.sort_values(["shots", "chosen"], kind="stable").to_dict("records"):
        scores = [interval(row, name, "+.3f") for name in NAMES]
        scores[0] = f"**{scores[0]}**" if clear_of_zero(row) else scores[0]
        lines.append([str(row["shots"]), f"{row['first']} - {row['second']}", row["chosen"], *scores])
    names = [f"{name} difference" for name in NAMES.values()]
    return markdown_table(["shots", "first - second", "tunings", *names], lines)


def _learning(cells: pd.DataFrame) -> str:
    lines = []
    for key, part in cells.sort_values("shots", kind="stable").groupby(CELL, sort=False):
        cell = part.iloc[0]
        trained = f"{cell['trainable_parameters']:,} ({cell['trainable_parameters'] / cell['total_parameters']:.1%})"
        medians = [number(part[name].median(), ".0f") for name in ("iterations_to_95", "seconds")]
        values = ", ".join(f"`{name}` {value}" for name, value in cell["values"].items())
        lines.append([*map(str, key), trained, *medians, values])
    return markdown_table([*CELL, "trained parameters", "iterations to 95 %", "seconds", "values"], lines)


def clear_of_zero(row: Mapping[Any, Any]) -> bool:
    """Whether the interval of a difference of IoU leaves zero out."""
    return bool(row["iou_low"] > 0 or row["iou_high"] < 0)
