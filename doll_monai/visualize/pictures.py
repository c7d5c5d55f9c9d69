"""Drawing on images: tints and outlines of masks, and pictures as ``data:`` addresses."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.morphology import dilation, disk, erosion

from doll_monai.findings import FOREGROUND
from doll_monai.transforms.reading import LoadLabeld, read_radiograph
from doll_monai.utils.errors import InputError

LABEL_COLOR = (230, 159, 0)
TRUTH_COLOR = (86, 180, 233)
"""Orange and sky blue of the color-blind-safe palette of Okabe and Ito (2008)."""
PICTURE_SIZE = 240


@cache
def _load_label() -> LoadLabeld:
    """One loader: MONAI asks for all its readers, and says which are missing, each time one is made."""
    return LoadLabeld()


def read_image(path: str | Path, side: int = PICTURE_SIZE) -> np.ndarray | None:
    """An image as a picture, (H, W, 3) ``uint8`` whose longer side is ``side``; None when it cannot be read."""
    try:
        values = read_radiograph(path)[0].numpy().T
    except InputError:
        return None
    low, high = np.percentile(values, (1, 99))
    grey = np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255
    picture = Image.fromarray(grey.astype(np.uint8))
    scale = side / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    return np.stack(
        [np.asarray(picture.resize(size, Image.Resampling.BILINEAR if scale > 1 else Image.Resampling.BOX))] * 3, -1
    )


def read_mask(path: Path, channel: int | None = None) -> np.ndarray | None:
    """A label file in rows and columns: (H, W) of one channel, or all (T, H, W); None when it cannot be read."""
    try:
        label = _load_label()({"label": path})["label"].numpy().transpose(0, 2, 1)
    except InputError:
        return None
    return label if channel is None else label[channel]


def _fit(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize(
        (image.shape[1], image.shape[0]), Image.Resampling.BILINEAR
    )
    return np.asarray(grey) > 127


def tint(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) ``uint8`` with a mask of any size tinted and outlined in the labels' color."""
    tinted = image.copy()
    inside = _fit(mask, image)
    tinted[inside] = (0.6 * image[inside] + 0.4 * np.array(LABEL_COLOR)).astype(np.uint8)
    return outline(tinted, mask, LABEL_COLOR)


def outlines(image: np.ndarray, masks: np.ndarray, color: tuple[int, int, int], dashed: bool = False) -> np.ndarray:
    """An image (H, W, 3) with the foreground of each channel of a label (T, h, w) outlined."""
    for mask in masks:
        image = outline(image, mask == FOREGROUND, color, dashed)
    return image


def outline(image: np.ndarray, mask: np.ndarray, color: tuple[int, int, int], dashed: bool = False) -> np.ndarray:
    """An image (H, W, 3) with a mask (h, w), enlarged to its size, outlined; dashed where two outlines may coincide."""
    inside = np.pad(_fit(mask, image), 1)
    edge = (dilation(inside, disk(1)) & ~erosion(inside, disk(1)))[1:-1, 1:-1]
    if dashed:
        row, column = np.indices(edge.shape)
        edge &= (row + column) % 12 < 7
    drawn = image.copy()
    drawn[edge] = color
    return drawn


def data_uri(picture: np.ndarray) -> str:
    """A picture (H, W, 3) ``uint8`` as a JPEG inside a ``data:`` address."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=82, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
