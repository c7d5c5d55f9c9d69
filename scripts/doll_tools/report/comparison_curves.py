"""Scores by number of annotated images, and learning curves, in the page's colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from doll_tools.report.drawing import ACCENT, GREEN, ORANGE, PURPLE, SKY, STYLE, TEXT, VERMILLION, svg
from doll_tools.report.figures import Curve

Cell = tuple[str, str]
"""A start and a tuning."""
Look = dict[str, Any]

COLORS = {"scratch": TEXT, "classifier": ORANGE, "doll_backbone": SKY, "doll": ACCENT}
MORE_COLORS = (GREEN, VERMILLION, PURPLE)
STYLES = ("-", "--", ":", "-.")
"""One a tuning."""


def _cells(table: pd.DataFrame) -> list[Cell]:
    return list(dict.fromkeys(zip(table["init"].astype(str), table["tuning"].astype(str), strict=True)))


def _look(cells: Sequence[Cell]) -> dict[Cell, Look]:
    """Color by start, line by tuning."""
    others = [init for init in dict.fromkeys(init for init, _ in cells) if init not in COLORS]
    colors = COLORS | {init: MORE_COLORS[n % len(MORE_COLORS)] for n, init in enumerate(others)}
    tunings = list(dict.fromkeys(tuning for _, tuning in cells))
    return {
        (init, tuning): {"color": colors[init], "linestyle": STYLES[tunings.index(tuning) % len(STYLES)]}
        for init, tuning in cells
    }


def score_intervals(summary: pd.DataFrame, task: str) -> Curve:
    """IoU on test images by number of annotated images, each with its interval."""
    shots = sorted(summary["shots"].unique())
    cells = _cells(summary)
    looks = _look(cells)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6, 2.9), layout="constrained")
        axes = figure.add_subplot(xlabel="annotated images", ylabel="IoU, test images")
        for number, cell in enumerate(cells):
            rows = summary[(summary["init"] == cell[0]) & (summary["tuning"] == cell[1])].sort_values("shots")
            place = np.array([shots.index(count) for count in rows["shots"]]) + (number - len(cells) / 2 + 0.5) * 0.08
            ends = np.abs(rows[["iou_low", "iou_high"]].to_numpy().T - rows["iou"].to_numpy())
            axes.errorbar(place, rows["iou"], np.nan_to_num(ends), marker="o", markersize=3.5, **looks[cell])
        axes.set_xticks(range(len(shots)), [str(count) for count in shots])
        _legend(figure, looks)
        text = ", ".join(
            f"{row['init']}/{row['tuning']} {row['shots']}: {row['iou']:.3f}" for _, row in summary.iterrows()
        )
        drawing = svg(figure, f"{task}: IoU on test images by start, tuning and number of annotated images: {text}")
    return Curve(drawing, f"{task}: IoU by number of annotated images", "bars: 95 % intervals; points are set apart")


def learning_curves(curves: pd.DataFrame, task: str) -> Curve:
    """IoU on valid images by iteration, of the most annotated images."""
    count = int(curves["shots"].max())
    chosen = curves[curves["shots"] == count]
    looks = _look(_cells(chosen))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6, 2.9), layout="constrained")
        axes = figure.add_subplot(xlabel="iteration", ylabel="IoU, valid images")
        for cell, look in looks.items():
            _band(axes, chosen[(chosen["init"] == cell[0]) & (chosen["tuning"] == cell[1])], look)
        _legend(figure, looks)
        drawing = svg(
            figure, f"{task}: IoU on valid images by iteration, {count} annotated images, by start and tuning"
        )
    caption = f"{count} annotated images; lines: means over seeds, bands: from the lowest to the highest seed"
    return Curve(drawing, f"{task}: validation IoU during fine-tuning", caption)


def _band(axes: Axes, part: pd.DataFrame, look: Look) -> None:
    by_iteration = part.groupby("iteration")["iou"].agg(["mean", "min", "max"])
    axes.plot(by_iteration.index, by_iteration["mean"], linewidth=1.4, **look)
    axes.fill_between(by_iteration.index, by_iteration["min"], by_iteration["max"], color=look["color"], alpha=0.12)


def _legend(figure: Figure, looks: dict[Cell, Look]) -> None:
    handles = [Line2D([], [], label="/".join(cell), linewidth=1.6, **look) for cell, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7, frameon=False)
