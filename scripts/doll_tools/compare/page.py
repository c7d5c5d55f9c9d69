"""The comparison as a page of Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from doll_monai.handlers.image_scores import ELSEWHERE, METRICS, SPLITS, TEST, VALID
from doll_tools.compare.results import Results
from doll_tools.compare.statistics import ALL
from doll_tools.compare.summary import CHOSEN, differences, learning, summarize, with_class_means
from doll_tools.evaluate.page import markdown_table

TITLES = {
    TEST: "Test images",
    ELSEWHERE: "Images from elsewhere (another data set; nothing of it was learnt from or chosen on)",
    VALID: "Valid images (watched in training; settings may be chosen on them)",
}
NOTE = (
    "Means over images and seeds, in brackets 95 % bootstrap intervals; seeds and patients are both drawn, and of two "
    "or three seeds such intervals are too narrow. IoU and Dice of an empty truth are 1 when the prediction is empty "
    "too, else 0. HD95: 95th percentile of the Hausdorff distance as a share of the image's diagonal, in the image's own "
    "size; the whole diagonal (1) when one of the two is empty."
)
NAMES = {"iou": "IoU", "dice": "Dice", "hd95": "HD95"}
MARK = {True: "**", False: ""}


def tables(results: Results) -> dict[str, pd.DataFrame]:
    """Summary, paired differences and speed of learning of the finished cells."""
    images = with_class_means(results.images)
    return {"summary": summarize(images), "differences": differences(images), "learning": learning(results)}


def page(settings: Mapping[str, Any], results: Results, content: Mapping[str, pd.DataFrame]) -> str:
    """The page.

    Args:
        settings: of ``ComparisonRequest.settings``.
        results: the finished cells.
        content: of ``tables``.
    """
    counts = ", ".join(f"{count} {section}" for section, count in settings["images"].items())
    parts = [
        f"# {settings['task']}: what a few annotated images bring, by start and tuning",
        f"{len(results.cells)} trainings of {settings['iterations']} iterations, batches of {settings['batch_size']}, "
        f"bundle `{settings['bundle']}`. Images: {counts}; the shots are taken from the training images.",
        NOTE,
    ]
    summary, pairs = content["summary"], content["differences"]
    for split in sorted(set(summary["split"]), key=(TEST, ELSEWHERE, VALID).index):
        rows = summary[summary["split"] == split]
        parts += [f"## {TITLES[split]}", _scores(rows), _classes(rows)]
        if split != VALID and len(pairs):
            parts += [_pairs(pairs[(pairs["split"] == split) & (pairs["class"] == ALL)])]
    parts += ["## Learning", _learning(content["learning"]), _values(results)]
    if len(results.cells):
        parts += ["![learning curves](curves.png)", _overlays(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _scores(rows: pd.DataFrame) -> str:
    lines = [
        [str(row["shots"]), row["init"], row["tuning"], str(row["seeds"]), *(interval(row, name) for name in NAMES)]
        for row in rows[rows["class"] == ALL].sort_values("shots", kind="stable").to_dict("records")
    ]
    return markdown_table(["shots", "init", "tuning", "seeds", *NAMES.values()], lines)


def _classes(rows: pd.DataFrame) -> str:
    """IoU of each class; nothing where there is one class."""
    classes = [name for name in dict.fromkeys(rows["class"]) if name != ALL]
    if len(classes) < 2:
        return ""
    lines = []
    for key, part in rows.sort_values("shots", kind="stable").groupby(["shots", "init", "tuning"], sort=False):
        by_class = part.set_index("class").to_dict("index")
        lines.append([*map(str, key), *(interval(by_class[name], "iou") for name in classes)])
    return markdown_table(["shots", "init", "tuning", *(f"IoU {name}" for name in classes)], lines)


def _pairs(rows: pd.DataFrame) -> str:
    """Paired differences; an IoU whose interval leaves 0 out is bold."""
    if rows.empty:
        return "No two cells can be compared yet."
    lines = []
    for row in rows.sort_values(["shots", "chosen"], kind="stable").to_dict("records"):
        clear = row["iou_low"] > 0 or row["iou_high"] < 0
        iou = f"{MARK[clear]}{interval(row, 'iou', '+.3f')}{MARK[clear]}"
        others = [interval(row, name, "+.3f") for name in ("dice", "hd95")]
        lines.append([str(row["shots"]), f"{row['first']} - {row['second']}", row["chosen"], iou, *others])
    text = (
        "Paired differences, first minus second: the same images, seeds and shots. "
        f"`{CHOSEN}`: of each start the tuning with the best IoU on valid images."
    )
    header = ["shots", "first - second", "tunings", *(f"{name} difference" for name in NAMES.values())]
    return f"{text}\n\n{markdown_table(header, lines)}"


def _learning(rows: pd.DataFrame) -> str:
    header = ["shots", "init", "tuning", "trained parameters", "seconds", "iterations to 95 %", "to scratch's last IoU"]
    lines = []
    for row in rows.sort_values("shots", kind="stable").to_dict("records"):
        share = row["trainable_parameters"] / row["total_parameters"]
        trained = f"{row['trainable_parameters']:,.0f} ({share:.1%})"
        times = [_number(row["seconds"]), _number(row["iterations_to_95"])]
        lines.append([str(row["shots"]), row["init"], row["tuning"], trained, *times, _scratch(row)])
    text = (
        "Medians over seeds. Iterations until the IoU on valid images is 95 % of its last value; until it is the last "
        "IoU of `scratch/full` with the same shots and seed, and the share of seeds that get there. This IoU is the "
        "bundle's own: at the network's size, without images whose truth is empty. Seconds are those of the whole "
        "training command, its start and validations included, over all attempts."
    )
    return f"{text}\n\n{markdown_table(header, lines)}"


def _values(results: Results) -> str:
    """The values that not all cells share."""
    cells = results.cells.drop_duplicates(["init", "tuning"]).to_dict("records")
    lines = [
        [cell["init"], cell["tuning"], ", ".join(f"`{name}` {value}" for name, value in cell["values"].items())]
        for cell in cells
    ]
    if not any(cell["values"] for cell in cells):
        return ""
    return "Values of their own:\n\n" + markdown_table(["init", "tuning", "values"], lines)


def _scratch(row: Mapping[Any, Any]) -> str:
    value = _number(row["iterations_to_scratch"])
    return f"{value} ({row['reached']:.0%})" if value else "never" if row["reached"] == 0 else ""


def _overlays(results: Results) -> str:
    first = results.cells.sort_values(["shots", "seed"], kind="stable").drop_duplicates(["shots", "init", "tuning"])
    lines = [f"- [{name}](cells/{name}/scores/overlays.png)" for name in first["name"]]
    return "Best, median and worst test image, of one seed each:\n\n" + "\n".join(lines)


def interval(row: Mapping[Any, Any], name: str, form: str = ".3f") -> str:
    """A value with its interval, such as ``0.812 [0.790, 0.833]``."""
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{value:{form}}" + ("" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]")


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0f}"


def figures(summary: pd.DataFrame) -> dict[str, float]:
    """The class means of every cell for MLflow."""
    rows: Iterable[dict[Any, Any]] = summary[summary["class"] == ALL].to_dict("records")
    return {
        f"{row['split']}.{row['init']}.{row['tuning']}.shots{row['shots']}.{metric}": float(row[metric])
        for row in rows
        for metric in METRICS
        if row["split"] in SPLITS and not math.isnan(row[metric])
    }
