"""Reading masks and labels: which of a file's values are foreground, and how it lies on its image.

Masks come as 0 and 1, 0 and 255, 0 and 0.999, with soft edges, in colors, with opacity, turned. What can be meant in
one way only is read so; the rest is refused.
"""

from __future__ import annotations

import logging
import os
from typing import NamedTuple

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from scipy.ndimage import maximum_filter, minimum_filter

from doll_monai.data.geometry import PICTURE, says_nothing, turn_of, turned
from doll_monai.data.readers import Read, is_picture, is_turned, read_image
from doll_monai.findings import BACKGROUND, FOREGROUND, IGNORE
from doll_monai.utils.errors import InputError

EDGE = 5
"""A square of so many pixels of one value between background and foreground is no soft edge."""
NOISELESS = 16
"""Values of a mask up to which none is noise of JPEG."""
FULL = (1, 255, 65535)
"""What foreground is in masks with soft edges."""
TOLERANCE = 1 / 64
"""By how much of an image's width or height a label may lie beside it."""
ELSEWHERE = "lies elsewhere than its image, their affines say; save it on the image's grid"
_logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where an image lies: its affine, (4, 4), and (W, H), how its file's grid was turned, and the file."""

    affine: np.ndarray
    size: tuple[int, int]
    turn: np.ndarray
    path: str

    @classmethod
    def of(cls, image: MetaTensor) -> Place:
        """Of an image that ``LoadRadiographd`` read, whatever transforms came after it."""
        width, height = (int(length) for length in image.meta["spatial_shape"])
        affine = np.asarray(image.meta["original_affine"], dtype=np.float64)
        return cls(affine, (width, height), np.asarray(image.meta["turn"]), image.meta["filename_or_obj"])


def read_label(
    path: str | os.PathLike[str], image: Place | None = None, ignore: bool = False, what: str = "label"
) -> Read:
    """A label or mask of any file type that images have.

    Args:
        image: where its image lies, on whose grid the label is turned; without one a NIfTI is set upright.
        ignore: whether it is a DoLL, whose 255 are pixels that do not count; else 255 is foreground.
        what: what it is, for the errors.

    Returns:
        (T, W, H) ``uint8`` of 0, 1 and, with ``ignore``, 255; a picture has one channel. And the affine, (4, 4).

    Raises:
        InputError: see ``read_image``; when it is no mask: numbers of several classes, another shape in its opacity
            than in its colors, values that are no numbers from 0; or does not lie on its image, or has another ratio of
            width to height.
    """
    values, affine = read_image(path, what)
    try:
        if is_picture(path):
            values = _one_color(values)
            if os.fspath(path).lower().endswith((".jpg", ".jpeg")) and 0 < values.max() <= NOISELESS:
                raise ValueError("is too dark for a mask in JPEG, which keeps no 0 and 1; save it as PNG")
        if ignore and np.isin(values, (BACKGROUND, FOREGROUND, IGNORE)).all():
            label = values.astype(np.uint8)
        elif ignore:
            raise ValueError(f"has {_levels(values)}; labels of findings have 0, 1 and 255")
        else:
            label = np.stack([foreground(channel) for channel in values]).astype(np.uint8)
        if image is None:
            label, affine = turned(label, affine, turn_of(path, affine))
        elif _says_nothing(affine) or is_picture(path):
            label, affine = turned(label, affine, image.turn)
        elif not says_nothing(image.affine):
            label, affine = _on_image(label, affine, image)
        elif label.shape[1:] != image.size:
            raise ValueError(ELSEWHERE)
        if image is not None and not ignore:  # DoLLs are square whatever their image is
            expected, found = image.size[0] / image.size[1], label.shape[1] / label.shape[2]
            if abs(found / expected - 1) > TOLERANCE:
                sizes = (" x ".join(map(str, size)) for size in (label.shape[1:], image.size))
                raise ValueError("has {} pixels, its image has {}; save it on the image's grid".format(*sizes))
    except ValueError as error:
        raise InputError(f"The {what} {path} {error}.") from error
    return label, affine


class MaskWarnings:
    """Says once that a mask may be black on white, and once that it may be drawn on an image that lay otherwise."""

    def __init__(self) -> None:
        self._inverted = self._turned = False

    def look_at(self, label: np.ndarray, path: str | os.PathLike[str], image: str | None = None) -> None:
        """A label, (T, W, H), of 0 and 1, of an image file; more than half of a channel is suspicious."""
        if not self._inverted and label.mean(axis=(1, 2)).max() > 0.5:
            self._inverted = True
            _logger.warning(f"More than half of the mask {path} is foreground; if it is black on white, invert it.")
        if not self._turned and image is not None and is_picture(image) and is_turned(image):
            self._turned = True
            _logger.warning(f"{image} is turned as its EXIF data say; its masks must be drawn on the turned image.")


def foreground(values: np.ndarray) -> np.ndarray:
    """Foreground, (W, H) bool, of one mask, (W, H): its only value above 0, or what is above half, with soft edges.

    Raises:
        ValueError: when the values may be numbers of classes, or are no mask's.
    """
    highest = values.max()
    if ((values == 0) | (values == highest)).all() and highest >= 0:
        return np.asarray(values > 0)
    full = next((full for full in FULL if highest <= full), np.inf)
    lowest, levels = values.min(), len(np.unique(values))
    margin = 0 if levels <= NOISELESS else highest / 8
    between = (values > lowest + margin) & (values < highest - margin)
    flat = maximum_filter(values, EDGE) == minimum_filter(values, EDGE)
    if levels == 3:  # an edge lies between the others
        flat = (maximum_filter(values, 3) < highest) | (minimum_filter(values, 3) > lowest)
    no_background = levels <= NOISELESS and lowest > full / 2
    if lowest < 0 or highest <= full / 2 or no_background or (between & flat).any():
        raise ValueError(
            f"has {_levels(values)}, not background and foreground; save each class as a mask of its own, of 0 and 1"
        )
    return np.asarray(values > full / 2)


def _levels(values: np.ndarray) -> str:
    levels = np.unique(values)
    return f"the values {', '.join(f'{level:g}' for level in levels[:4])}{', ...' if len(levels) > 4 else ''}"


def _one_color(values: np.ndarray) -> np.ndarray:
    """A picture, (C, W, H), as one channel: its brightest color."""
    opaque = len(values) % 2 == 1
    colors = (values if opaque else values[:-1]).astype(np.float32)
    mask = colors.max(axis=0)
    if not opaque and values[-1].min() < values[-1].max():
        shape = values[-1] > values[-1].max() / 2
        if (shape != (mask > mask.max() / 2)).any():
            raise ValueError("has another shape in its opacity than in its colors; save it in gray, all opaque")
    if len(colors) > 1 and mask.any():
        expected = colors.max(axis=(1, 2), keepdims=True) / mask.max() * mask
        other = (np.abs(colors - expected) > mask.max() / 3).any(axis=0)
        if minimum_filter(other, EDGE).any():
            raise ValueError("has several colors; save each class as a mask of its own, of 0 and 1")
    return mask[np.newaxis]


def _on_image(label: np.ndarray, affine: np.ndarray, image: Place) -> Read:
    """A label, (T, W, H), turned as its image; their corners must be the same, but on a picture of the same size."""
    relative = np.linalg.inv(image.affine) @ affine
    turn = nib.io_orientation(relative[np.ix_((0, 1, 3), (0, 1, 3))])
    if np.isnan(turn).any():
        raise ValueError(ELSEWHERE)
    label, affine = turned(label, affine, turn.astype(int))
    corners = np.array([[x, y, 0, 1] for x in (0, label.shape[1]) for y in (0, label.shape[2])]) - [0.5, 0.5, 0, 0]
    found = (corners @ (np.linalg.inv(image.affine) @ affine).T)[:, :2] + 0.5
    expected = [[x, y] for x in (0, image.size[0]) for y in (0, image.size[1])]
    free = is_picture(image.path) and label.shape[1:] == image.size  # pictures do not tell their place
    if not free and (np.abs(found - expected) > TOLERANCE * np.array(image.size)).any():
        raise ValueError(ELSEWHERE)
    return label, affine


def _says_nothing(affine: np.ndarray) -> bool:
    """Whether an affine is that of a file without a position: one of NIfTI's, or that of ITK."""
    return says_nothing(affine) or says_nothing(PICTURE @ affine)
