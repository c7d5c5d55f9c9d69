"""What a few annotated images bring, from the folders of ``doll compare``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from doll_monai.handlers.image_scores import ELSEWHERE, TEST
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_monai.visualize.pictures import data_uri
from doll_tools.compare.page import interval
from doll_tools.compare.statistics import ALL
from doll_tools.report.comparison_curves import learning_curves, score_intervals
from doll_tools.report.figures import Curve

FOLDER = "comparisons"
"""Folder of a run in which comparisons are looked for, one folder a task."""
TABLES = ("summary.csv", "differences.csv", "curves.csv", "settings.json")
SHEET_WIDTH = 720
SPLITS = {TEST: "test images", ELSEWHERE: "images from elsewhere"}


@dataclass(frozen=True)
class Comparison:
    """One task's comparison, ready to be shown.

    Attributes:
        task: its name.
        about: a sentence: how many images, shots, seeds and iterations.
        scores: rows of start, tuning, shots, images, IoU, Dice, each with its interval.
        differences: rows of what is compared, shots, images, the difference of IoU with its interval, whether it is
            clear of zero.
        curves: scores with intervals, and IoU on valid images by iteration.
        sheets: ``data:`` address and text of the best, the median and the worst test image of each start.
        commands: one training command a start and tuning.
    """

    task: str
    about: str
    scores: list[tuple[str, ...]]
    differences: list[tuple[str, str, str, str, bool]]
    curves: list[Curve]
    sheets: list[tuple[str, str]]
    commands: list[str]


def find_comparisons(given: str | Path | None, run: Path) -> list[Path]:
    """Folders of comparisons: the given one or those in it, or those in the run's own ``comparisons``.

    Raises:
        InputError: when the given folder holds none.
    """
    root = run / FOLDER if given is None else Path(given)
    found = [root, *sorted(root.iterdir())] if root.is_dir() else []
    folders = [folder for folder in found if all((folder / name).is_file() for name in TABLES)]
    if given is not None and not folders:
        raise InputError(
            f"{given} holds no finished comparison; give an output folder of doll compare, or a folder of such folders."
        )
    return folders


def read_comparison(folder: Path) -> Comparison:
    """A comparison's tables, curves and pictures.

    Raises:
        InputError: when a table is broken.
    """
    settings = read_json_object(folder / "settings.json")
    summary, pairs, curves = (_read(folder / name) for name in TABLES[:3])
    task = str(settings.get("task") or folder.name)
    try:
        reported = summary[(summary["class"] == ALL) & summary["split"].isin(list(SPLITS))]
        pairs = pairs[(pairs["class"] == ALL) & pairs["split"].isin(list(SPLITS))] if len(pairs) else pairs
        drawn = [score_intervals(reported[reported["split"] == TEST], task), learning_curves(curves, task)]
        about = _about(settings, reported)
        return Comparison(
            task, about, _scores(reported), _differences(pairs), drawn, _sheets(folder, task), _commands(folder)
        )
    except KeyError as error:
        raise InputError(f"A table in {folder} has no column {error}; run doll compare with it again.") from error


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no table: {error}.") from error


def _about(settings: dict[str, Any], summary: pd.DataFrame) -> str:
    images = ", ".join(f"{count} {section}" for section, count in dict(settings.get("images") or {}).items())
    return (
        f"Images: {images}. Each training took {settings.get('iterations')} iterations of {settings.get('batch_size')} "
        f"images; {summary['seeds'].max()} seeds. Means over images and seeds, in brackets 95 % bootstrap intervals over "
        "seeds and patients, which are too narrow with two or three seeds."
    )


def _scores(summary: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (
            str(row["init"]),
            str(row["tuning"]),
            str(row["shots"]),
            f"{row['images']} {SPLITS[row['split']]}",
            interval(row, "iou"),
            interval(row, "dice"),
        )
        for row in summary.sort_values(["split", "shots"], ascending=[False, True], kind="stable").to_dict("records")
    ]


def _differences(pairs: pd.DataFrame) -> list[tuple[str, str, str, str, bool]]:
    if pairs.empty:
        return []
    rows = pairs[pairs["chosen"].isna()].sort_values(["split", "shots"], ascending=[False, True], kind="stable")
    return [
        (
            f"{row['first']} \N{MINUS SIGN} {row['second']}",
            str(row["shots"]),
            f"{row['images']} {SPLITS[row['split']]}",
            interval(row, "iou", "+.3f"),
            bool(row["iou_low"] > 0 or row["iou_high"] < 0),
        )
        for row in rows.to_dict("records")
    ]


def _sheets(folder: Path, task: str) -> list[tuple[str, str]]:
    """The pictures of one cell of each start and tuning: the most shots, the first seed."""
    sheets = []
    cells = sorted(folder.glob("cells/*/cell.json"))
    records = [(read_json_object(path), path.parent / "scores" / "overlays.png") for path in cells]
    records.sort(key=lambda item: (-item[0]["shots"], item[0]["seed"]))
    seen: set[tuple[str, str]] = set()
    for record, path in records:
        cell = (str(record["init"]), str(record["tuning"]))
        if cell in seen or not path.is_file():
            continue
        seen.add(cell)
        try:
            with Image.open(path) as picture:
                flat = picture.convert("RGB")
        except (OSError, SyntaxError, ValueError):  # a damaged picture is left out
            continue
        flat.thumbnail((SHEET_WIDTH, SHEET_WIDTH))
        text = (
            f"{task}, {'/'.join(cell)}, {record['shots']} annotated images, seed {record['seed']}: best, median and "
            "worst test image, truth in blue, prediction dashed in orange"
        )
        sheets.append((data_uri(np.asarray(flat)), text))
    return sheets


def _commands(folder: Path) -> list[str]:
    """The training command of the first finished cell of each start and tuning."""
    commands: dict[tuple[str, str], str] = {}
    for path in sorted(folder.glob("cells/*/cell.json")):
        record = read_json_object(path)
        stage = folder / ".stages" / f"{path.parent.name}.json"
        found = read_json_object(stage).get("command") if stage.is_file() else None
        if found:
            commands.setdefault((str(record["init"]), str(record["tuning"])), str(found))
    return list(commands.values())
