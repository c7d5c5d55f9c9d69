"""Label files and members' maps as arrays to draw, rows first, and the tint of a label."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from doll_monai.transforms.reading import LoadLabeld
from doll_monai.utils.errors import InputError
from doll_monai.visualize.pictures import LABEL_COLOR, fitted, outline


def read_mask(path: str | os.PathLike[str], channel: int | None = None) -> np.ndarray | None:
    """A label file in rows and columns: (H, W) of one channel, or all (T, H, W); None when it cannot be read."""
    try:
        label = LoadLabeld(ignore=True)({"label": path})["label"].numpy().transpose(0, 2, 1)
    except InputError:
        return None
    return label if channel is None else label[channel]


def read_map_sheet(path: Path, sources: int) -> dict[str, np.ndarray]:
    """Observation to maps, (sources, H, W) ``uint8``, of a file that ``map_sheet`` made the content of.

    ``sources`` are the mean of the members, and the members; an ``InputError`` when it is no such file.
    """
    try:
        with Image.open(path) as picture:
            names = str(picture.info["observations"]).split(",")
            sheet = np.asarray(picture.convert("L"))
        tiles = sheet.reshape(len(names), sheet.shape[0] // len(names), sources, sheet.shape[1] // sources)
    except (OSError, KeyError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is no sheet of maps of {sources - 1} members; make the labels again.") from error
    return dict(zip(names, tiles.transpose(0, 2, 1, 3), strict=True))


def tint(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A picture with a mask (h, w) of any size tinted and outlined in the labels' color."""
    tinted, inside = image.copy(), fitted(mask, image)
    tinted[inside] = (0.6 * image[inside] + 0.4 * np.array(LABEL_COLOR)).astype(np.uint8)
    return outline(tinted, mask, LABEL_COLOR)
