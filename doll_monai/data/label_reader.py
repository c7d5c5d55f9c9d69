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
from doll_monai.data.readers import PICTURES, Read, read_image
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
    """Where an image lies: its affine, (4, 4), and (W, H), how its file's grid was turned, whether it is a picture."""

    affine: np.ndarray
    size: tuple[int, int]
    turn: np.ndarray
    picture: bool

    @classmethod
    def of(cls, image: MetaTensor) -> Place:
        """Of an image that ``LoadRadiographd`` read, whatever transforms came after it."""
        width, height = (int(length) for length in image.meta["spatial_shape"])
        affine = np.asarray(image.meta["original_affine"], dtype=np.float64)
        return cls(affine, (width, height), np.asarray(image.meta["turn"]), _is_picture(image.meta["filename_or_obj"]))


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
        if _is_picture(path):
            values = _one_color(values)
        if ignore and np.isin(values, (BACKGROUND, FOREGROUND, IGNORE)).all():
            label = values.astype(np.uint8)
        elif ignore:
            raise ValueError(f"has {_levels(values)}; labels of findings have 0, 1 and 255")
        else:
            label = np.stack([foreground(channel) for channel in values]).astype(np.uint8)
        if image is None:
            label, affine = turned(label, affine, turn_of(path, affine))
        elif _says_nothing(affine) or _is_picture(path):
            label, affine = turned(label, affine, image.turn)
        elif not says_nothing(image.affine):
            label, affine = _on_image(label, affine, image)
        if image is not None and not ignore:  # DoLLs are square whatever their image is
            expected, found = image.size[0] / image.size[1], label.shape[1] / label.shape[2]
            if abs(found / expected - 1) > TOLERANCE:
                sizes = (" x ".join(map(str, size)) for size in (label.shape[1:], image.size))
                raise ValueError("has {} pixels, its image has {}; save it on the image's grid".format(*sizes))
    except ValueError as error:
        raise InputError(f"The {what} {path} {error}.") from error
    return label, affine


class InvertedMasks:
    """Says once that a mask may be black on white."""

    def __init__(self) -> None:
        self._said = False

    def look_at(self, label: np.ndarray, path: str | os.PathLike[str]) -> None:
        """A label, (T, W, H), of 0 and 1; more than half of a channel is suspicious."""
        if not self._said and label.mean(axis=(1, 2)).max() > 0.5:
            self._said = True
            _logger.warning(f"More than half of the mask {path} is foreground; if it is black on white, invert it.")


def foreground(values: np.ndarray) -> np.ndarray:
    """Foreground, (W, H) bool, of one mask, (W, H): its only value above 0, or what is above half, with soft edges.

    Raises:
        ValueError: when the values may be numbers of classes, or are no mask's.
    """
    highest = values.max()
    if ((values == 0) | (values == highest)).all() and highest >= 0:
        return np.asarray(values > 0)
    full = next((full for full in FULL if highest <= full), np.inf)
    margin = 0 if len(np.unique(values)) <= NOISELESS else highest / 8
    between = (values > values.min() + margin) & (values < highest - margin)
    flat = between & (maximum_filter(values, EDGE) == minimum_filter(values, EDGE))
    if values.min() < 0 or highest <= full / 2 or flat.any():
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
    """A label, (T, W, H), turned as its image; of an image that is no picture their corners must be the same."""
    relative = np.linalg.inv(image.affine) @ affine
    turn = nib.io_orientation(relative[np.ix_((0, 1, 3), (0, 1, 3))])
    if np.isnan(turn).any():
        raise ValueError(ELSEWHERE)
    label, affine = turned(label, affine, turn.astype(int))
    corners = np.array([[x, y, 0, 1] for x in (0, label.shape[1]) for y in (0, label.shape[2])]) - [0.5, 0.5, 0, 0]
    found = (corners @ (np.linalg.inv(image.affine) @ affine).T)[:, :2] + 0.5
    expected = [[x, y] for x in (0, image.size[0]) for y in (0, image.size[1])]
    if not image.picture and (np.abs(found - expected) > TOLERANCE * np.array(image.size)).any():
        raise ValueError(ELSEWHERE)
    return label, affine


def _says_nothing(affine: np.ndarray) -> bool:
    """Whether an affine is that of a file without a position: one of NIfTI's, or that of ITK."""
    return says_nothing(affine) or says_nothing(PICTURE @ affine)


def _is_picture(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).lower().endswith(PICTURES)
