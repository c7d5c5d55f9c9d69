"""The comparison as a page of Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from doll_tools.compare.image_scores import ELSEWHERE, TEST, VALID
from doll_tools.compare.results import Results
from doll_tools.compare.statistics import ALL, CELL, CHOSEN
from doll_tools.evaluate.page import markdown_table

TITLES = {
    TEST: "Test images",
    ELSEWHERE: "Images from elsewhere (another data set; nothing of it was learnt from or chosen on)",
    VALID: "Valid images (watched in training; settings may be chosen on them)",
}
NOTE = (
    "Means over images and seeds, in brackets 95 % bootstrap intervals; seeds and patients are both drawn, and of two "
    "or three seeds such intervals are too narrow. IoU and Dice of an empty ground truth are 1 when the prediction is "
    "empty too, else 0. HD95: 95th percentile of the Hausdorff distance as a share of the image's diagonal, in the "
    "image's own size; the whole diagonal (1) when one of the two is empty."
)
PAIRS = (
    "Paired differences, first minus second: the same images, seeds and shots; bold where the interval of the IoU "
    f"leaves zero out. `{CHOSEN}`: of each initialization the tuning with the best IoU on valid images."
)
LEARNING = (
    "Medians over seeds: iterations until the IoU on valid images is 95 % of its last value, and seconds of the whole "
    "training command. The values are those that not all cells share."
)
NAMES = {"iou": "IoU", "dice": "Dice", "hd95": "HD95"}


def page(settings: Mapping[str, Any], results: Results) -> str:
    """The page, of ``ComparisonRequest.settings`` and the finished cells."""
    counts = ", ".join(f"{count} {section}" for section, count in settings["images"].items())
    parts = [
        f"# {settings['task']}: few-shot benchmark of initializations and tunings",
        f"{len(results.cells)} trainings of {settings['iterations']} iterations, batches of {settings['batch_size']}, "
        f"bundle `{settings['bundle']}`. Images: {counts}; the shots are taken from the training images.",
        NOTE,
    ]
    summary, pairs = results.summary, results.differences
    for split in (split for split in TITLES if split in set(summary["split"])):
        parts += [f"## {TITLES[split]}", _scores(summary[summary["split"] == split])]
        if split != VALID and len(pairs):
            parts += [PAIRS, _pairs(pairs[(pairs["split"] == split) & (pairs["class"] == ALL)])]
    parts += ["## Learning", LEARNING, _learning(results), "![IoU on valid images by iteration](curves.png)"]
    first = results.cells.sort_values(["shots", "seed"], kind="stable").drop_duplicates(CELL)
    links = [f"- [{name}](cells/{name}/scores/overlays.png)" for name in first["name"]]
    return "\n\n".join([*parts, "Best, median and worst test image, of one seed each:", "\n".join(links)]) + "\n"


def _scores(rows: pd.DataFrame) -> str:
    """Scores of each cell, with the IoU of each class where there are several."""
    classes = [name for name in dict.fromkeys(rows["class"]) if name != ALL]
    classes = classes if len(classes) > 1 else []
    lines = []
    keys = ["shots", "initialization", "tuning"]
    for key, part in rows.sort_values("shots", kind="stable").groupby(keys, sort=False):
        by_class = part.set_index("class").to_dict("index")
        scores = [interval(by_class[ALL], name) for name in NAMES]
        lines.append([*map(str, key), *scores, *(interval(by_class[name], "iou") for name in classes)])
    return markdown_table([*keys, *NAMES.values(), *(f"IoU {name}" for name in classes)], lines)


def _pairs(rows: pd.DataFrame) -> str:
    lines = []
    for row in rows.sort_values(["shots", "chosen"], kind="stable").to_dict("records"):
        mark = "**" if clear_of_zero(row) else ""
        scores = [interval(row, name, "+.3f") for name in NAMES]
        pair = f"{row['first']} - {row['second']}"
        lines.append([str(row["shots"]), pair, row["chosen"], f"{mark}{scores[0]}{mark}", *scores[1:]])
    return markdown_table(
        ["shots", "first - second", "tunings", *(f"{name} difference" for name in NAMES.values())], lines
    )


def _learning(results: Results) -> str:
    lines = []
    for key, part in results.cells.sort_values("shots", kind="stable").groupby(CELL, sort=False):
        cell = part.iloc[0]
        trained = f"{cell['trainable_parameters']:,} ({cell['trainable_parameters'] / cell['total_parameters']:.1%})"
        medians = [part[name].median() for name in ("iterations_to_95", "seconds")]
        values = ", ".join(f"`{name}` {value}" for name, value in cell["values"].items())
        lines.append(
            [*map(str, key), trained, *("" if math.isnan(value) else f"{value:.0f}" for value in medians), values]
        )
    return markdown_table([*CELL, "trained parameters", "iterations to 95 %", "seconds", "values"], lines)


def interval(row: Mapping[Any, Any], name: str, form: str = ".3f") -> str:
    """A value with its interval, such as ``0.812 [0.790, 0.833]``."""
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{value:{form}}" + ("" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]")


def clear_of_zero(row: Mapping[Any, Any]) -> bool:
    """Whether the interval of a difference of IoU leaves zero out."""
    return bool(row["iou_low"] > 0 or row["iou_high"] < 0)
