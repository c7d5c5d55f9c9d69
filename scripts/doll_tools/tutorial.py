"""What the notebooks share: pictures side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

MAP_COLORS = "cividis"
"""Color map that is safe for the color-blind (Nuñez et al. 2018)."""


def image_grid(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], columns: Sequence[str], note: str = "", side: float = 1.9
) -> Figure:
    """A figure with a row an image and a column a picture of it.

    Args:
        rows: text at the left, and pictures: colors (H, W, 3) ``uint8``, or a map (H, W) of numbers, which
            is drawn from its least to its largest.
        columns: texts above the columns.
        note: text below the figure.
        side: width of a picture in inches.
    """
    figure = Figure(figsize=(side * len(columns) + 0.4, side * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, (name, pictures) in zip(axes, rows, strict=True):
        for place, picture in zip(line, pictures, strict=True):
            place.imshow(picture, cmap=MAP_COLORS)
            place.set(xticks=[], yticks=[])
            place.spines[:].set_visible(False)
        line[0].set_ylabel(name, fontsize=8)
    for place, text in zip(axes[0], columns, strict=True):
        place.set_title(text, fontsize=9)
    figure.supxlabel(note, fontsize=8, color="0.35")
    return figure
