"""Pictures on axes, with regions outlined."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from doll_monai.findings import FOREGROUND, IGNORE
from doll_monai.transforms.pictures import read_image, read_mask
from doll_monai.utils.errors import InputError
from doll_monai.visualize.pictures import LABEL_COLOR, outline, tint

SIDE = 360
"""Longer side of an image in a figure, in pixels."""
CLASS_COLORS = (LABEL_COLOR, (0, 158, 115), (204, 121, 167), (213, 94, 0), (0, 114, 178))
"""Of the color-blind-safe palette of Okabe and Ito (2008)."""
KEY = "Labels: foreground tinted, ignored pixels dashed; ground truth: blue."


def picture_of(path: Path) -> np.ndarray:
    """An image as (H, W, 3) ``uint8``; ``InputError`` when it cannot be read."""
    image = read_image(path, SIDE)
    if image is None:
        raise InputError(f"The image {path} cannot be read; give the images that the run was made from.")
    return image


def mask_of(path: Path) -> np.ndarray:
    """A label file, (T, H, W) ``uint8``; ``InputError`` when it cannot be read."""
    mask = read_mask(path)
    if mask is None:
        raise InputError(f"{path} cannot be read; delete it and make it again.")
    return mask


def labeled(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) with one channel (h, w) of a label: foreground tinted, ignored pixels dashed."""
    drawn = tint(image, label == FOREGROUND)
    return outline(drawn, label == IGNORE, LABEL_COLOR, dashed=True) if (label == IGNORE).any() else drawn


def segmented(image: np.ndarray, masks: Iterable[np.ndarray]) -> np.ndarray:
    """An image (H, W, 3) with masks (h, w), each outlined in its class's color."""
    for number, mask in enumerate(masks):
        image = outline(image, mask == FOREGROUND, CLASS_COLORS[number % len(CLASS_COLORS)])
    return image


def show(axes: Axes, image: np.ndarray, title: str = "", below: str = "", beside: str = "") -> None:
    """Show an image without ticks, with words above, below and on its left."""
    axes.imshow(image)
    axes.set(xticks=[], yticks=[], title=title, xlabel=below, ylabel=beside)
    axes.spines[:].set_visible(False)


def note_of(data: Path) -> str:
    """What the pictures are, of a folder of images."""
    synthetic = (data / "phantom.json").is_file()
    return f"Drawn from a run of ours on {'synthetic images' if synthetic else f'the images of {data.name}'}."
