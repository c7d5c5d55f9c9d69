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
    TRUTH_COLOUR,
    VERMILLION,
    fill,
    film_picture,
    iou,
    show,
    trace,
)
from doll_tools.figures.fine_tuning_curves import START_NAMES
from doll_tools.figures.foot import draw_foot, figure_with_foot
from doll_tools.figures.saving import STYLE, WIDTH
from doll_tools.figures.task_films import ShownFilm

_CLASS_COLOURS = (ORANGE, GREEN, PURPLE, VERMILLION, BLUE)


def draw_with_and_without(
    tasks: Mapping[str, Sequence[ShownFilm]], classes: Mapping[str, Sequence[str]], inits: Sequence[str], note: str = ""
) -> Figure:
    """A row a task; for each rank a film with the truth, then the prediction of each start over the truth.

    Args:
        tasks: heading of the row to its films, one a rank.
        classes: heading to the names of its classes, the channels of the masks.
        inits: the starts, in the order of the columns.
        note: line below.
    """
    colours = class_colours(list(classes.values()))
    ranks = [film.rank for film in next(iter(tasks.values()))]
    columns = 1 + len(inits)
    heading = ["film and truth", *(START_NAMES[init] for init in inits)]
    side = WIDTH / (len(ranks) * columns)
    # a narrow column keeps the films of different ranks apart
    widths = [width for _ in ranks for width in (*[1.0] * columns, 0.08)][:-1]
    with matplotlib.rc_context(STYLE):
        figure = figure_with_foot(1.13 * side * len(tasks) + 0.5, note)
        grid = figure.add_gridspec(len(tasks), len(widths), width_ratios=widths)
        for line, (title, films) in enumerate(tasks.items()):
            for block, film in enumerate(films):
                first = block * (columns + 1)
                row = [figure.add_subplot(grid[line, first + number]) for number in range(columns)]
                _draw_row(row, film, [colours[name] for name in classes[title]], inits)
                if block == 0:
                    row[0].set_ylabel(title, fontsize=9)
                if line == 0:
                    for axes, name in zip(row, heading, strict=True):
                        axes.set_title(name, fontsize=9)
                    _head(row[columns // 2], f"{film.rank} test film")
        marks: list[Artist] = [Patch(facecolor=colour, alpha=0.6, label=name) for name, colour in colours.items()]
        marks.append(Line2D([], [], color=TRUTH_COLOUR, linewidth=1.5, label="truth"))
        draw_foot(figure, marks, note)
    return figure


def class_colours(groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """A colour for each class of several tasks, in the order in which they first occur."""
    names = list(dict.fromkeys(name for group in groups for name in group))
    return {name: _CLASS_COLOURS[number % len(_CLASS_COLOURS)] for number, name in enumerate(names)}


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


def _draw_row(row: Sequence[Axes], film: ShownFilm, colours: Sequence[str], inits: Sequence[str]) -> None:
    picture = film_picture(film.data / film.image)
    for number, axes in enumerate(row):
        show(axes, picture, square=True)
        if number:
            masks = film.masks[inits[number - 1]]
            for mask, colour in zip(masks, colours, strict=True):
                fill(axes, mask, colour)
            axes.set_xlabel(f"IoU {mean_iou(masks, film.truth):.2f}", fontsize=9)
        for mask in film.truth:
            trace(axes, mask, TRUTH_COLOUR)
