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
from doll_tools.compare.cells import CELLS, SCORES, read_cells
from doll_tools.compare.curves import COLORS, draw_curves, draw_legend, looks
from doll_tools.compare.few_shot import read_table
from doll_tools.compare.image_scores import ELSEWHERE, TEST
from doll_tools.compare.program import SETTINGS
from doll_tools.compare.results import ALL, CURVES, DIFFERENCES, SUMMARY
from doll_tools.report.curves import ACCENT, STYLE, TEXT, Curve, svg
from doll_tools.report.run_folder import RunFolder

SHEET_WIDTH = 720
SPLITS = {TEST: "test images", ELSEWHERE: "images from elsewhere"}
PAGE_COLORS = {**COLORS, "scratch": TEXT, "doll": ACCENT}
INTERVALS = ["split", "shots", "class", "images", "iou", "iou_low", "iou_high"]
Rows = list[dict[str, Any]]


def find_comparisons(run: RunFolder, given: Path | None) -> list[Path]:
    """The given folder of a comparison, else those in it (``InputError`` for none); or in the run's ``comparisons``."""
    root = run.root / "comparisons" if given is None else given
    found = [root, *sorted(root.iterdir())] if root.is_dir() else []
    names = (SUMMARY, DIFFERENCES, CURVES, SETTINGS)
    folders = [folder for folder in found if all((folder / name).is_file() for name in names)]
    if given is not None and not folders:
        raise InputError(f"{given} holds no finished comparison; give an output of doll compare, or a folder of such.")
    return folders


def read_curves(folder: Path) -> pd.DataFrame:
    """IoU on valid images by iteration, of the most annotated images; ``InputError`` when the table is broken."""
    curves = read_table(folder / CURVES, ["initialization", "tuning", "shots", "seed", "iteration", "iou"])
    return curves[curves["shots"] == curves["shots"].max()]


def read_comparison(folder: Path) -> dict[str, Any]:
    """What the page shows of a comparison; ``InputError`` when a table is broken.

    ``scores`` and ``differences`` are rows of the tables of these names; ``sheets`` are pictures and texts, and
    ``commands`` trainings, one of each initialization and tuning.
    """
    settings = read_json_object(folder / SETTINGS)
    summary = read_table(folder / SUMMARY, ["initialization", "tuning", "seeds", "dice", *INTERVALS])
    pairs: Rows = []
    if (folder / DIFFERENCES).read_bytes().strip():  # one cell has no pair
        differences = read_table(folder / DIFFERENCES, ["first", "second", "chosen", *INTERVALS])
        pairs = _rows(differences[differences["chosen"].isna()])
    task, scores = str(settings.get("task") or folder.name), _rows(summary)
    images = ", ".join(f"{count} {section}" for section, count in dict(settings.get("images") or {}).items())
    about = (
        f"Images: {images}. Each training took {settings.get('iterations')} iterations of {settings.get('batch_size')} "
        f"images; {summary['seeds'].max()} seeds. Means over images and seeds, in brackets 95 % bootstrap intervals "
        "over seeds and patients, which are too narrow with two or three seeds."
    )
    cells = first_cells(folder).values()
    sheet = (
        "{}, {initialization}/{tuning}, {shots} annotated images, seed {seed}: best, median and worst test image, "
        "ground truth in blue, prediction dashed in orange"
    )
    pictures = [(read_sheet(folder, cell), sheet.format(task, **cell)) for cell in cells]
    return {
        "task": task,
        "about": about,
        "scores": scores,
        "differences": pairs,
        "curves": [_score_curve(pd.DataFrame(scores), task), _learning_curve(read_curves(folder), task)],
        "sheets": [(picture, text) for picture, text in pictures if picture is not None],
        "commands": [cell["command"] for cell in cells if cell.get("command")],
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
    count = curves["shots"].iloc[0]
    drawing = svg(
        draw_curves({"": curves}, PAGE_COLORS, columns=2),
        f"{task}: IoU on valid images by iteration, {count} annotated images",
    )
    caption = f"{count} annotated images; lines: means over seeds, bands: from the lowest to the highest seed"
    return Curve(drawing, f"{task}: validation IoU during fine-tuning", caption)


def first_cells(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Initialization and tuning to the record of its finished cell with the most annotated images, the first seed."""
    cells = [{**record, "name": name} for name, record in read_cells(folder).items()]
    cells.sort(key=lambda cell: (cell["shots"], -cell["seed"]))
    return {(cell["initialization"], cell["tuning"]): cell for cell in cells}


def read_sheet(folder: Path, cell: dict[str, Any]) -> np.ndarray | None:
    """The best, the median and the worst test image of a cell, (H, W, 3); None where the file is missing or damaged."""
    try:
        with Image.open(folder / CELLS / cell["name"] / SCORES / "overlays.png") as picture:
            flat = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for damaged files
        return None
    flat.thumbnail((SHEET_WIDTH, SHEET_WIDTH))
    return np.asarray(flat)
