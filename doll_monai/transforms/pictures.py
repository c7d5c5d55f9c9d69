"""Image files as pictures to draw on."""

from __future__ import annotations

import os

import numpy as np

from doll_monai.transforms.reading import read_radiograph
from doll_monai.utils.errors import InputError
from doll_monai.visualize.pictures import PICTURE_SIZE, gray_picture


def read_image(path: str | os.PathLike[str], side: int = PICTURE_SIZE) -> np.ndarray | None:
    """An image as a picture, (H, W, 3) ``uint8`` whose longer side is ``side``; None when it cannot be read."""
    try:
        return gray_picture(read_radiograph(path)[0].numpy(), side)
    except InputError:
        return None
