"""Segmentation from scratch beside segmentation after pre-training on DoLLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from doll_tools.figures.drawing import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    TRUTH_COLOR,
    VERMILLION,
    fill,
    image_picture,
    iou,
    show,
    trace,
)
from doll_tools.figures.fine_tuning_curves import START_NAMES
from doll_tools.figures.foot import draw_foot, figure_with_foot
from doll_tools.figures.saving import STYLE, WIDTH
from doll_tools.figures.task_images import ShownImage

_CLASS_COLORS = (ORANGE, GREEN, PURPLE, VERMILLION, BLUE)


def draw_with_and_without(
    tasks: Mapping[str, Sequence[ShownImage]],
    classes: Mapping[str, Sequence[str]],
    inits: Sequence[str],
    note: str = "",
) -> Figure:
    """A row a task; for each rank an image with the truth, then the prediction of each start over the truth.

    Args:
        tasks: heading of the row to its images, one a rank.
        classes: heading to the names of its classes, the channels of the masks.
        inits: the starts, in the order of the columns.
        note: line below.
    """
    colors = class_colors(list(classes.values()))
    ranks = [image.rank for image in next(iter(tasks.values()))]
    columns = 1 + len(inits)
    heading = ["image and truth", *(START_NAMES[init] for init in inits)]
    side = WIDTH / (len(ranks) * columns)
    # a narrow column keeps the images of different ranks apart
    widths = [width for _ in ranks for width in (*[1.0] * columns, 0.08)][:-1]
    with matplotlib.rc_context(STYLE):
        figure = figure_with_foot(1.13 * side * len(tasks) + 0.5, note)
        grid = figure.add_gridspec(len(tasks), len(widths), width_ratios=widths)
        for line, (title, images) in enumerate(tasks.items()):
            for block, image in enumerate(images):
                first = block * (columns + 1)
                row = [figure.add_subplot(grid[line, first + number]) for number in range(columns)]
                _draw_row(row, image, [colors[name] for name in classes[title]], inits)
                if block == 0:
                    row[0].set_ylabel(title, fontsize=9)
                if line == 0:
                    for axes, name in zip(row, heading, strict=True):
                        axes.set_title(name, fontsize=9)
                    _head(row[columns // 2], f"{image.rank} test image")
        marks: list[Artist] = [Patch(facecolor=color, alpha=0.6, label=name) for name, color in colors.items()]
        marks.append(Line2D([], [], color=TRUTH_COLOR, linewidth=1.5, label="truth"))
        draw_foot(figure, marks, note)
    return figure


def class_colors(groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """A color for each class of several tasks, in the order in which they first occur."""
    names = list(dict.fromkeys(name for group in groups for name in group))
    return {name: _CLASS_COLORS[number % len(_CLASS_COLORS)] for number, name in enumerate(names)}


def mean_iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the classes of the IoU of two (T, H, W) masks."""
    return float(np.mean([iou(*pair) for pair in zip(prediction, truth, strict=True)]))


def _head(axes: Axes, words: str) -> None:
    """Words above a panel's title."""
    axes.annotate(
        words,
        (0.5, 1),
        (0, 20),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        size=10,
        weight="bold",
    )


def _draw_row(row: Sequence[Axes], image: ShownImage, colors: Sequence[str], inits: Sequence[str]) -> None:
    picture = image_picture(image.data / image.image)
    for number, axes in enumerate(row):
        show(axes, picture, square=True)
        if number:
            masks = image.masks[inits[number - 1]]
            for mask, color in zip(masks, colors, strict=True):
                fill(axes, mask, color)
            axes.set_xlabel(f"IoU {mean_iou(masks, image.truth):.2f}", fontsize=9)
        for mask in image.truth:
            trace(axes, mask, TRUTH_COLOR)
