"""Hand-drawn masks: picture files united to the classes of a label."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from doll_monai.data.label_reader import Place, read_label
from doll_monai.utils.errors import InputError

PATIENT_COLUMN = "patient"
"""Column of patients in a table of images and masks."""


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
    image: str | os.PathLike[str], place: Place, masks: Sequence[Sequence[str | os.PathLike[str]]], enlarge: int = 1
) -> np.ndarray:
    """Label of one image.

    Args:
        image: the image, for errors.
        place: where it lies.
        masks: for each class the files whose union it is; no file is an empty mask.
        enlarge: how many times smaller than its image a mask may be, whose pixels are repeated then.

    Returns:
        (C, W, H) uint8, 0 or 1.

    Raises:
        InputError: when a mask is missing, unreadable or of another size than the image.
    """
    label = np.zeros((len(masks), *place.size), dtype=np.uint8)
    for channel, files in enumerate(masks):
        for file in files:
            mask = read_mask(file, place).T
            if enlarge > 1 and mask.shape == tuple(length / enlarge for length in place.size):
                mask = mask.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
            if mask.shape != place.size:
                found, expected = (" x ".join(map(str, shape)) for shape in (mask.shape, place.size))
                raise InputError(f"the mask {file} has {found} pixels, its image {image} {expected}.")
            label[channel] |= mask
    return label


def read_mask(path: str | os.PathLike[str], image: Place | None = None) -> np.ndarray:
    """Foreground of a mask, (H, W) bool, as viewers show it; see ``read_label``.

    Raises:
        InputError: when the file is missing, unreadable, of several channels, no mask, or does not lie on its image.
    """
    label, _ = read_label(path, image, what="mask")
    if len(label) > 1:
        raise InputError(f"The mask {path} has {len(label)} channels; save each as a mask of its own.")
    return np.asarray(label[0].T > 0)
