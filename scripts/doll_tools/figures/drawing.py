"""Images with regions on them: filled, hatched or outlined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet

from doll_monai.utils.errors import InputError
from doll_monai.visualize.pictures import read_image

BLACK, ORANGE, SKY_BLUE, GREEN, BLUE, VERMILLION, PURPLE = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"),
)
"""The color-blind-safe palette of Okabe and Ito (2008), without its yellow."""
TEXT, FAINT = "#222222", "#666666"
FOREGROUND_COLOR, TRUTH_COLOR = ORANGE, SKY_BLUE
MAP_COLORS = "inferno"
SIDE = 360
"""Longer side of an image in a figure, in pixels."""


def image_picture(path: Path, side: int = SIDE) -> np.ndarray:
    """An image as (H, W, 3) ``uint8``.

    Raises:
        InputError: when it cannot be read.
    """
    image = read_image(path, side)
    if image is None:
        raise InputError(f"The image {path} cannot be read; give the images that the run was made from.")
    return image


def show(axes: Axes, image: np.ndarray, square: bool = False) -> None:
    """Show an image, (H, W, 3), on axes without ticks; its own coordinates go from 0 to 1.

    Args:
        axes: where.
        image: the image.
        square: whether the axes are a square with the image in its middle, so that images of different shapes line up.
    """
    shape = image.shape[0] / image.shape[1]
    axes.imshow(image, extent=(0, 1, 1, 0), aspect=shape, interpolation="antialiased")
    width, height = (max(1.0, shape), max(1.0, 1 / shape)) if square else (1.0, 1.0)
    axes.set(xticks=[], yticks=[], xlim=(0.5 - width / 2, 0.5 + width / 2), ylim=(0.5 + height / 2, 0.5 - height / 2))
    axes.spines[:].set_visible(False)


def fill(axes: Axes, mask: np.ndarray, color: str, alpha: float = 0.45) -> None:
    """Fill a mask (h, w) that covers the whole image."""
    _levels(axes, mask, filled=True, colors=[color], alpha=alpha)


def hatch(axes: Axes, mask: np.ndarray, color: str) -> None:
    """Hatch a mask (h, w) that covers the whole image."""
    drawn = _levels(axes, mask, filled=True, colors="none", hatches=["/////"])
    if drawn is not None:
        drawn.set(edgecolor=color, linewidth=0)


def trace(axes: Axes, mask: np.ndarray, color: str, width: float = 1.2, style: str = "solid") -> None:
    """Outline a mask (h, w) that covers the whole image."""
    _levels(axes, mask, filled=False, colors=[color], linewidths=width, linestyles=style)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks of the same shape; 1 when both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def _levels(axes: Axes, mask: np.ndarray, filled: bool, **style: Any) -> ContourSet | None:
    """The contour of a mask; None where it is empty."""
    if not mask.any():
        return None
    height, width = mask.shape
    # a border of zeros closes outlines at the image's edge
    values = np.pad(mask.astype(float), 1)
    x, y = (np.arange(-0.5, length + 1) / length for length in (width, height))
    if filled:
        return axes.contourf(x, y, values, levels=[0.5, 1.5], **style)
    return axes.contour(x, y, values, levels=[0.5], **style)
