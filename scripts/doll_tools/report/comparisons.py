"""Few-shot benchmarks in the page, from the folders of ``doll compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.compare.cells import SCORES, read_cells
from doll_tools.compare.curves import COLORS, draw_curves, draw_legend, looks
from doll_tools.compare.few_shot import read_table
from doll_tools.compare.image_scores import ELSEWHERE, TEST
from doll_tools.compare.program import SETTINGS
from doll_tools.compare.results import CURVES, DIFFERENCES, SUMMARY
from doll_tools.compare.statistics import ALL
from doll_tools.report.curves import ACCENT, STYLE, TEXT, Curve, svg
from doll_tools.report.run_folder import RunFolder

FOLDER = "comparisons"
"""Folder of a run in which comparisons are looked for, one folder a task."""
SHEET_WIDTH = 720
SPLITS = {TEST: "test images", ELSEWHERE: "images from elsewhere"}
PAGE_COLORS = {**COLORS, "scratch": TEXT, "doll": ACCENT}
INTERVALS = ["split", "shots", "class", "images", "iou", "iou_low", "iou_high"]
Rows = list[dict[str, Any]]


def find_comparisons(run: RunFolder, given: Path | None) -> list[Path]:
    """The given folder of a comparison, else those in it (``InputError`` for none); or the run's own, if any."""
    root = run.root / FOLDER if given is None else given
    found = [root, *sorted(root.iterdir())] if root.is_dir() else []
    names = (SUMMARY, DIFFERENCES, CURVES, SETTINGS)
    folders = [folder for folder in found if all((folder / name).is_file() for name in names)]
    if given is not None and not folders:
        raise InputError(f"{given} holds no finished comparison; give an output of doll compare, or a folder of such.")
    return folders


def read_comparison(folder: Path) -> dict[str, Any]:
    """What the page shows of a comparison; ``InputError`` when a table is broken.

    Returns:
        ``task``; ``about``, a sentence; ``scores`` and ``differences``, rows of the tables of these names; ``curves``;
        ``sheets``, picture and text of the best, the median and the worst test image of each initialization and tuning;
        ``commands``, one training of each.
    """
    settings = read_json_object(folder / SETTINGS)
    summary = read_table(folder / SUMMARY, ["initialization", "tuning", "seeds", "dice", *INTERVALS])
    curves = read_table(folder / CURVES, ["initialization", "tuning", "shots", "seed", "iteration", "iou"])
    pairs: Rows = []
    if (folder / DIFFERENCES).read_bytes().strip():  # one cell has no pair
        differences = read_table(folder / DIFFERENCES, ["first", "second", "chosen", *INTERVALS])
        pairs = _rows(differences[differences["chosen"].isna()])
    task = str(settings.get("task") or folder.name)
    scores = _rows(summary)
    images = ", ".join(f"{count} {section}" for section, count in dict(settings.get("images") or {}).items())
    about = (
        f"Images: {images}. Each training took {settings.get('iterations')} iterations of {settings.get('batch_size')} "
        f"images; {summary['seeds'].max()} seeds. Means over images and seeds, in brackets 95 % bootstrap intervals "
        "over seeds and patients, which are too narrow with two or three seeds."
    )
    drawn = [_score_curve(pd.DataFrame(scores), task), _learning_curve(curves, task)]
    cells = list(read_cells(folder).items())
    cells.sort(key=lambda item: (-item[1]["shots"], item[1]["seed"]))
    first = {(cell["initialization"], cell["tuning"]): name for name, cell in reversed(cells)}
    records = dict(cells)
    sheets = [_sheet(folder / "cells" / name, task, records[name]) for name in first.values()]
    commands = [str(records[name].get("command")) for name in first.values() if records[name].get("command")]
    return {
        **{"task": task, "about": about, "scores": scores, "differences": pairs, "curves": drawn},
        **{"sheets": [sheet for sheet in sheets if sheet], "commands": commands},
    }


def _rows(table: pd.DataFrame) -> Rows:
    """The rows of the mean over classes, test images before those from elsewhere."""
    table = table[(table["class"] == ALL) & table["split"].isin(list(SPLITS))]
    rows = table.sort_values(["split", "shots"], ascending=[False, True], kind="stable").to_dict("records")
    return [{**row, "measured_on": f"{row['images']} {SPLITS[row['split']]}"} for row in rows]


@matplotlib.rc_context(STYLE)
def _score_curve(summary: pd.DataFrame, task: str) -> Curve:
    """IoU on test images by number of annotated images, each with its interval."""
    summary = summary[summary["split"] == TEST]
    shots = sorted(summary["shots"].unique())
    cells = looks(summary, PAGE_COLORS)
    figure = Figure(figsize=(3.6, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel="annotated images", ylabel="IoU, test images")
    for number, (cell, look) in enumerate(cells.items()):
        rows = summary[(summary["initialization"] == cell[0]) & (summary["tuning"] == cell[1])]
        place = np.array([shots.index(count) for count in rows["shots"]]) + (number - len(cells) / 2 + 0.5) * 0.08
        ends = np.abs(rows[["iou_low", "iou_high"]].to_numpy().T - rows["iou"].to_numpy())
        axes.errorbar(place, rows["iou"], np.nan_to_num(ends), marker="o", markersize=3.5, **look)
    axes.set_xticks(range(len(shots)), [str(count) for count in shots])
    draw_legend(figure, cells, columns=2)
    points = [f"{row.initialization}/{row.tuning} {row.shots}: {row.iou:.3f}" for row in summary.itertuples()]
    title = f"{task}: IoU by number of annotated images"
    return Curve(svg(figure, f"{title}: {', '.join(points)}"), title, "bars: 95 % intervals; points are set apart")


@matplotlib.rc_context(STYLE)
def _learning_curve(curves: pd.DataFrame, task: str) -> Curve:
    """IoU on valid images by iteration, of the most annotated images."""
    count = int(curves["shots"].max())
    figure = draw_curves({"": curves[curves["shots"] == count]}, PAGE_COLORS, columns=2)
    text = f"{task}: IoU on valid images by iteration, {count} annotated images"
    caption = f"{count} annotated images; lines: means over seeds, bands: from the lowest to the highest seed"
    return Curve(svg(figure, text), f"{task}: validation IoU during fine-tuning", caption)


def _sheet(cell: Path, task: str, record: dict[str, Any]) -> tuple[np.ndarray, str] | None:
    """The pictures of a cell; None where they are missing or damaged."""
    try:
        with Image.open(cell / SCORES / "overlays.png") as picture:
            flat = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError):
        return None
    flat.thumbnail((SHEET_WIDTH, SHEET_WIDTH))
    text = (
        f"{task}, {record['initialization']}/{record['tuning']}, {record['shots']} annotated images, seed "
        f"{record['seed']}: best, median and worst test image, ground truth in blue, prediction dashed in orange"
    )
    return np.asarray(flat), text
