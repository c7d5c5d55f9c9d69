"""Hand-drawn masks: picture files united to the classes of a label."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import ImageOps

from doll_monai.data.readers import open_picture
from doll_monai.utils.errors import InputError

PATIENT_COLUMN = "patient"
"""Column of patients in a table of images and masks."""

_LARGEST = {"|b1": 1, "|u1": 255, "<u2": 65535, ">u2": 65535, "<i4": 65535}


def parse_classes(classes: str | Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Classes, in the order of the label's channels, and the columns or folders of masks whose union each is.

    Of ``lungs=right_lung+left_lung,heart``, or a sequence of such parts; ``heart`` alone is ``heart=heart``. An
    ``InputError`` when a part cannot be read or a class occurs twice.
    """
    result: dict[str, tuple[str, ...]] = {}
    for part in classes if isinstance(classes, (list, tuple)) else str(classes).split(","):
        name, equals, right = (piece.strip() for piece in str(part).partition("="))
        columns = tuple(column.strip() for column in (right if equals else name).split("+"))
        if not name or not all(columns) or "=" in right or (not equals and len(columns) > 1):
            raise InputError(f"The class '{part}' cannot be read; write name=column or name=column+column.")
        if name in result:
            raise InputError(f"The class '{name}' occurs twice; join its columns with +.")
        result[name] = columns
    return result


def label_array(
    image: str | os.PathLike[str],
    size: tuple[int, int],
    masks: Sequence[Sequence[str | os.PathLike[str]]],
    enlarge: int = 1,
) -> np.ndarray:
    """Label of one image.

    Args:
        image: the image, for errors.
        size: its (W, H).
        masks: for each class the picture files whose union it is; no file is an empty mask.
        enlarge: how many times smaller than its image a mask may be, whose pixels are repeated then.

    Returns:
        (W, H, 1, C) uint8, 0 or 1, as in label files.

    Raises:
        InputError: when a mask is missing, unreadable or of another size than the image.
    """
    width, height = size
    label = np.zeros((width, height, 1, len(masks)), dtype=np.uint8)
    for channel, files in enumerate(masks):
        for file in files:
            mask = read_mask(file)
            if enlarge > 1 and mask.shape == (height / enlarge, width / enlarge):
                mask = mask.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
            if mask.shape != (height, width):
                found = f"{mask.shape[1]} x {mask.shape[0]}"
                raise InputError(f"the mask {file} has {found} pixels, its image {image} {width} x {height}.")
            label[:, :, 0, channel] |= mask.T
    return label


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Foreground of a mask picture: above half of what its type can hold, or 1 where 1 is its maximum.

    Returns:
        (H, W) bool, as viewers show it. Of a colored mask the brightest color channel counts, its opacity does not.

    Raises:
        InputError: when the file is missing, unreadable, of an unusual type, or has values up to half of what its type
            can hold, which are the numbers of classes rather than a mask.
    """
    try:
        with open_picture(path) as stored:
            picture = ImageOps.exif_transpose(stored)
            values = np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except Exception as error:  # Pillow's plug-ins raise whatever a damaged file makes them stumble over
        raise InputError(f"{path} cannot be read as a picture.") from error
    if values.ndim == 3:
        values = values[:, :, : values.shape[2] - (values.shape[2] in (2, 4))].max(axis=2)
    if values.dtype.str not in _LARGEST:
        raise InputError(f"the mask {path} has values of type {values.dtype}; save it with 8 or 16 bit.")
    highest, half = int(values.max()), _LARGEST[values.dtype.str] // 2
    if 1 < highest <= half:
        raise InputError(
            f"the mask {path} has values up to {highest}, none above {half}; save it with 0 and 1, or 0 and "
            f"{2 * half + 1}."
        )
    return values > (half if highest > 1 else 0)
