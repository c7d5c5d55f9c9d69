"""One ``uint8`` mask for classes that overlap, as annotation tools want it: each class is one bit of the value.

A heart over a lung is not a choice between the two: a pixel of both has the sum of both values, and that sum has a name
of its own (``lungs+heart``). Nothing is lost on the way to the tool and back.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import itk
import numpy as np
from PIL import Image

from doll_monai.transforms.reading import LoadLabeld
from doll_monai.utils.errors import InputError
from doll_monai.utils.pictures import open_picture

CLASSES = ("lungs", "heart", "clavicles", "infection")
"""Classes of the bundles, whose bits are the same in every mask, whichever bundles are served."""
MAX_CLASSES = 8
"""Bits of a ``uint8``."""
PICTURES = (".png", ".tif", ".tiff", ".bmp")
"""Files for masks as pictures; a JPEG would change the values."""
OTHERS = (".nii.gz", ".nii", ".nrrd", ".mha")


def class_bits(names: Sequence[str]) -> dict[str, int]:
    """The value of each class: 1, 2, 4, ...

    Raises:
        InputError: when there are more than ``MAX_CLASSES``, or one occurs twice.
    """
    if len(names) > MAX_CLASSES or len(set(names)) < len(names):
        raise InputError(f"A mask holds up to {MAX_CLASSES} different classes, not {', '.join(names)}.")
    return {name: 1 << number for number, name in enumerate(names)}


def label_values(bits: Mapping[str, int]) -> dict[str, int]:
    """Names of all values: of the classes, and of their overlaps as ``lungs+heart``."""
    groups = [group for size in range(1, len(bits) + 1) for group in combinations(bits, size)]
    values = {"+".join(group): sum(bits[name] for name in group) for group in groups}
    return dict(sorted(values.items(), key=lambda item: item[1]))


def join_classes(channels: np.ndarray, bits: Sequence[int]) -> np.ndarray:
    """Args: channels, (T, ...) bool; bits, the value of each. Returns: (...) ``uint8``."""
    mask = np.zeros(channels.shape[1:], dtype=np.uint8)
    for channel, bit in zip(channels, bits, strict=True):
        mask[channel] |= bit
    return mask


def split_classes(mask: np.ndarray, bits: Sequence[int]) -> np.ndarray:
    """Args: mask, (...) ``uint8``; bits, the value of each class. Returns: (T, ...) bool."""
    return np.stack([(mask & bit) > 0 for bit in bits])


def strongest(probabilities: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """The most probable class of each pixel, for more classes than a mask has bits; regions may hide one another.

    Args:
        probabilities: (T, ...) float.
        threshold: below it there is no class.

    Returns:
        (...) ``uint8``: 0, or the class's number plus one.
    """
    return np.where(probabilities.max(axis=0) >= threshold, probabilities.argmax(axis=0) + 1, 0).astype(np.uint8)


def renumber(mask: np.ndarray, segments: Any, values: Mapping[str, int]) -> np.ndarray:
    """A mask whose values are segments' numbers, with the values of their names.

    3D Slicer numbers the segments that it sends 1, 2, ... and names them in this order.

    Args:
        mask: (H, W) ``uint8``.
        segments: a list of ``{"name": ...}``, or nothing, which leaves the mask as it is.
        values: name to value.

    Raises:
        InputError: when a segment has a name that means nothing.
    """
    names = [str(segment.get("name")) for segment in segments or [] if isinstance(segment, Mapping)]
    if not names:
        return mask
    unknown = [name for name in names if name not in values]
    if unknown:
        raise InputError(f"There is no class {unknown[0]}; segments may be named: {', '.join(values)}.")
    table = np.arange(256, dtype=np.uint8)
    table[1 : len(names) + 1] = [values[name] for name in names]
    return table[mask]


def write_mask(path: str | os.PathLike[str], mask: np.ndarray, affine: np.ndarray) -> None:
    """Write a mask in its image's grid; the file's name says how.

    Args:
        path: a picture (``.png``, ``.tif``, ``.bmp``), or ``.nii.gz``, ``.nii``, ``.nrrd``, ``.mha``.
        mask: (H, W) ``uint8``, rows first.
        affine: (4, 4) of the image; pictures have none.

    Raises:
        InputError: for another kind of file.
    """
    name = str(path).lower()
    if name.endswith(PICTURES):
        Image.fromarray(np.ascontiguousarray(mask)).save(path)
    elif name.endswith(OTHERS):
        position = np.diag([-1, -1, 1, 1]) @ np.asarray(affine, dtype=np.float64)  # ITK's axes run to the left and back
        spacing = np.linalg.norm(position[:3, :3], axis=0)
        image = itk.image_from_array(np.ascontiguousarray(mask[np.newaxis]))
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(position[:3, 3].tolist())
        image.SetDirection(itk.matrix_from_array(position[:3, :3] / spacing))
        itk.imwrite(image, str(path), compression=True)
    else:
        raise InputError(f"A mask cannot be written as {Path(path).name}; use {', '.join((*PICTURES, *OTHERS))}.")


def read_mask(path: str | os.PathLike[str], size: tuple[int, int], largest: int) -> np.ndarray:
    """A mask that an annotation tool sent.

    Args:
        path: a picture of one channel (a palette's numbers count, and three colors that are equal), or a file that
            ITK or nibabel reads.
        size: width and height of its image.
        largest: largest value that means something.

    Returns:
        (H, W) ``uint8``, rows first.

    Raises:
        InputError: when it cannot be read, has another size than its image, or values that mean nothing.
    """
    name = Path(path).name
    values = _picture(Path(path)) if str(path).lower().endswith(PICTURES) else _volume(path)
    if values.shape != (size[1], size[0]):
        found = " x ".join(str(length) for length in values.shape[::-1])
        raise InputError(f"The mask {name} is {found} pixels, its image is {size[0]} x {size[1]}; draw on the image.")
    wrong = np.unique(values[(values < 0) | (values > largest) | (values != np.round(values))])
    if wrong.size:
        raise InputError(f"The mask {name} has the value {wrong[0]:g}; values are whole numbers from 0 to {largest}.")
    return values.astype(np.uint8)


def _picture(path: Path) -> np.ndarray:
    try:
        with open_picture(path) as picture:
            values = np.asarray(picture)
    except Exception as error:
        raise InputError(f"The mask {path.name} cannot be read; send a PNG.") from error
    if values.ndim == 3:
        colors = values[..., :3] if values.shape[2] > 2 else values[..., :1]
        if (colors != colors[..., :1]).any():
            raise InputError(f"The mask {path.name} is in color; send one channel of whole numbers.")
        values = colors[..., 0]
    return values.astype(np.float64)


def _volume(path: str | os.PathLike[str]) -> np.ndarray:
    values = LoadLabeld("label").load(path).squeeze()
    if values.ndim != 2:
        found = " x ".join(str(length) for length in values.shape)
        raise InputError(f"The mask {Path(path).name} is {found} pixels; send the image's one slice.")
    return np.asarray(values, dtype=np.float64).T
