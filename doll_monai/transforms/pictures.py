"""Image and label files as pictures to draw on."""

from __future__ import annotations

import os

import numpy as np

from doll_monai.transforms.reading import LoadLabeld, read_radiograph
from doll_monai.utils.errors import InputError
from doll_monai.visualize.pictures import PICTURE_SIZE, gray_picture


def read_image(path: str | os.PathLike[str], side: int = PICTURE_SIZE) -> np.ndarray | None:
    """An image as a picture, (H, W, 3) ``uint8`` whose longer side is ``side``; None when it cannot be read."""
    try:
        return gray_picture(read_radiograph(path)[0].numpy(), side)
    except InputError:
        return None


def read_mask(path: str | os.PathLike[str], channel: int | None = None) -> np.ndarray | None:
    """A label file in rows and columns: (H, W) of one channel, or all (T, H, W); None when it cannot be read."""
    try:
        label = LoadLabeld(ignore=True)({"label": path})["label"].numpy().transpose(0, 2, 1)
    except InputError:
        return None
    return label if channel is None else label[channel]
