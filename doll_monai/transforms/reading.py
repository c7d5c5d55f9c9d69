"""Reading radiographs and label files."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import ScaleIntensityd

from doll_monai.data.geometry import turn_of, turned, with_meta
from doll_monai.data.label_reader import MaskWarnings, Place, read_label
from doll_monai.data.readers import read_image
from doll_monai.transforms.keywise import KeywiseTransform
from doll_monai.utils.errors import InputError
from doll_monai.visualize.pictures import PICTURE_SIZE, gray_picture

MAX_CHANNELS = 4
"""Colors and opacity."""
BORDER_TOLERANCE = 1 / 64
EDGE_SHARE, AREA_SHARE, FAR = 1 / 16, 1 / 64, 1 / 4
"""Of the edge and of the image that an area of one value has at the least; and how far its value is, in contrasts."""
SAMPLED = 1_000_000
"""About the number of pixels from which percentiles are taken."""


class LoadRadiographd(KeywiseTransform):
    """Read a radiograph of any file type, (C, W, H) ``float32`` with the file's own values.

    PNG, JPEG, BMP, TIFF, NIfTI, MetaImage (``.mha``), NRRD and JSRT's raw ``.IMG`` are known by their names; a file of
    any other name must be DICOM. MONAI puts the width first. Channels are gray, colors, or either with opacity;
    palettes and inks (CMYK) are resolved, trailing axes of length one dropped.

    - **DICOM**: slope and intercept or the modality LUT are applied, MONOCHROME1 and the presentation LUT shape INVERSE
      are inverted, padding becomes black. A window, or a VOI LUT that keeps the order of values, is not applied: many
      files lack them, and percentiles make a DICOM and the PNG exported from it the same.
    - **Pictures** are turned as their EXIF data or TIFF tag say: the grid that viewers display is the image's grid.
    - **NIfTI** is set upright as its affine says: columns to the patient's left, rows down, in a transverse plane to
      the back. An identity affine, or sform and qform code 0, says nothing.
    - **Others** keep the stored grid, and their affine.

    The metadata are the file's name and geometry alone; a patient's name, dates and numbers stay behind.

    Raises:
        InputError: when a file is missing, cannot be read, holds no two-dimensional image, claims more than 100 million
            pixels (noticed before memory is taken) or more than it has, or has values or a position that are no
            numbers.
    """

    def __init__(self, keys: KeysCollection = "image") -> None:
        super().__init__(keys)

    def convert(self, value: Any, data: Mapping[Hashable, Any]) -> torch.Tensor:
        values, affine = read_image(value)
        if len(values) > MAX_CHANNELS:
            raise InputError(f"The image {value} has {len(values)} values a pixel; save it in gray or colors.")
        turn = turn_of(value, affine)
        return with_meta(*turned(values.astype(np.float32), affine, turn), value, turn)


class ToGrayd(KeywiseTransform):
    """Average the colors of images, (C, W, H), to (1, W, H); opacity, the last of two or four channels, is dropped."""

    def convert(self, value: torch.Tensor, data: Mapping[Hashable, Any]) -> torch.Tensor:
        return (value[:-1] if value.shape[0] in (2, 4) else value).mean(dim=0, keepdim=True)


class ClipBorderd(KeywiseTransform):
    """Bring what is not the image, and would take its contrast, to the darkest or brightest gray of what is inside.

    A border is made of outermost rows and columns of one value: collimators, padding, frames drawn by a scanner; what
    is left of it after JPEG, within a 64th of the image's range, is border as well. One that is darker than the 1st or
    brighter than the 99th percentile of the inside shifts these percentiles, a frame of 65535 around 12 bits to the
    point where nothing is seen. Around a round or slanted collimator, areas of exactly one value lie at the edge; they
    count where they are far from the percentiles, by a quarter of what is between these. Such an image, (1, W, H), is
    clipped to the percentiles of its inside; others are left as they are.
    """

    def convert(self, value: torch.Tensor, data: Mapping[Hashable, Any]) -> torch.Tensor:
        inside, levels = torch.as_tensor(value[0]), []
        for tolerance in (0.0, BORDER_TOLERANCE):
            inside, found = _without_border(inside, tolerance)
            levels += found
        if min(inside.shape) < 2:
            return value
        areas = _areas(inside)
        low, high = _percentiles(inside, areas)
        far = areas[torch.maximum(low - areas, areas - high) > FAR * (high - low)]
        if len(far) < len(areas):
            low, high = _percentiles(inside, far)
        levels += far.tolist()
        if levels and high > low and (min(levels) < low or max(levels) > high):
            return value.clamp(low, high)
        return value


def _areas(inside: torch.Tensor) -> torch.Tensor:
    """The values of large areas of one value at the edge of an image, (W, H)."""
    edge = torch.cat([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    levels, counts = edge.unique(return_counts=True)
    levels = levels[counts >= EDGE_SHARE * len(edge)]
    return levels[[int((inside == level).sum()) >= AREA_SHARE * inside.numel() for level in levels]]


def _percentiles(inside: torch.Tensor, without: torch.Tensor) -> tuple[float, float]:
    """The 1st and the 99th of all values but some; equal if there are no others."""
    values = inside.flatten()
    for level in without:
        values = values[values != level]
    if len(values) == 0:
        return 0.0, 0.0
    low, high = np.percentile(values[:: max(len(values) // SAMPLED, 1)].numpy(), (1, 99))
    return float(low), float(high)


def _without_border(image: torch.Tensor, tolerance: float) -> tuple[torch.Tensor, list[float]]:
    """The inside of an image, (W, H), and the levels of the borders that are found.

    ``tolerance`` is the share of the image's range by which a border's values differ at the most.
    """
    if image.numel() == 0:
        return image, []
    tolerance *= float(image.max() - image.min())
    widths, levels = [], []
    for across in (1, 0):
        lowest, highest = image.amin(dim=across), image.amax(dim=across)
        for low, high in ((lowest, highest), (lowest.flip(0), highest.flip(0))):
            level = (low[0] + high[0]) / 2
            constant = (level - low <= tolerance) & (high - level <= tolerance)
            widths.append(int(constant.int().cumprod(0).sum()))
            levels.append(float(level))
    left, right, top, bottom = widths
    inside = image[left : max(image.shape[0] - right, 0), top : max(image.shape[1] - bottom, 0)]
    return inside, [level for width, level in zip(widths, levels, strict=True) if width]


def read_radiograph(path: str | os.PathLike[str]) -> torch.Tensor:
    """A radiograph read as by every bundle, (1, W, H) ``float32`` in [0, 1]; see ``LoadRadiographd`` for errors."""
    item: dict[Hashable, Any] = {"image": path}
    for transform in (LoadRadiographd("image"), ToGrayd("image"), ClipBorderd("image"), ScaleIntensityd("image")):
        item = transform(item)
    image: torch.Tensor = item["image"]
    return image


def read_picture(path: str | os.PathLike[str], side: int = PICTURE_SIZE) -> np.ndarray | None:
    """A radiograph as a picture, (H, W, 3) ``uint8`` whose longer side is ``side``; None when it cannot be read."""
    try:
        return gray_picture(read_radiograph(path)[0].numpy(), side)
    except InputError:
        return None


class LoadLabeld(KeywiseTransform):
    """Read a label file, (T, W, H) ``uint8`` with 0, 1 and, of DoLLs, 255 (ignored).

    A NIfTI of (W, H, 1, T) or a picture (one channel) of masks; see ``read_label`` for what counts as foreground. It is
    turned as its image lies, which ``LoadRadiographd`` read before. See ``MaskWarnings`` for what is said once.

    Args:
        channels: T, if that is to be checked.
        ignore: whether they are DoLLs.

    Raises:
        InputError: when a file is missing, cannot be read, is no mask, has not T channels or does not lie on its image.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        channels: int | None = None,
        ignore: bool = False,
        image_key: str = "image",
    ) -> None:
        super().__init__(keys)
        self.channels, self.ignore, self.image_key = channels, ignore, image_key
        self._warnings = MaskWarnings()

    def convert(self, value: Any, data: Mapping[Hashable, Any]) -> torch.Tensor:
        image = data.get(self.image_key)
        place = Place.of(image) if isinstance(image, MetaTensor) else None
        label, affine = read_label(value, place, self.ignore)
        if self.channels not in (None, len(label)):
            raise InputError(f"The label {value} has {len(label)} channels instead of {self.channels}.")
        if not self.ignore:
            self._warnings.look_at(label, value, place and place.path)
        return with_meta(label, affine, value)
