"""One ``uint8`` mask of classes that may overlap, as annotation tools want it: each class is one bit of the value.

A pixel of lung and heart has the sum of both values, and that sum has a name of its own (``lungs+heart``), so nothing
is lost on the way to the tool and back.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import ITKWriter, MetaTensor
from PIL import Image

from doll_monai.data.geometry import AS_STORED, is_nifti, nifti_affine, says_nothing, turn_of, turned, turned_back
from doll_monai.data.label_files import label_file
from doll_monai.data.readers import open_picture, read_image
from doll_monai.utils.errors import InputError

BITS = {"lungs": 1, "heart": 2, "clavicles": 4, "infection": 8}
"""The value of each class of the bundles, the same in every mask, whichever bundles are served."""
FINAL, ORIGINAL = "final", "original"  # MONAI Label's tags: what an annotator accepted, and what a model proposed
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VOLUMES = (".nii.gz", ".nii", ".nrrd", ".mha")
IMAGES = (*VOLUMES, *PICTURES, ".dicom", ".dcm", ".dic")


def label_values(classes: Sequence[str]) -> dict[str, int]:
    """Values of classes and of their overlaps, such as ``lungs+heart``."""
    own = sum(BITS[name] for name in classes)
    return {"+".join(drawn_classes(np.uint8(value))): value for value in range(1, own + 1) if value & own == value}


def join_classes(channels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Args: channels, (T, ...) bool, of T classes. Returns: (...) ``uint8``."""
    mask = np.zeros(channels.shape[1:], dtype=np.uint8)
    for channel, name in zip(channels, classes, strict=True):
        mask[channel] |= BITS[name]
    return mask


def split_classes(mask: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Args: mask, (...) ``uint8``. Returns: (T, ...) bool, of T classes."""
    return np.stack([(mask & BITS[name]) > 0 for name in classes])


def drawn_classes(mask: np.ndarray | np.uint8) -> list[str]:
    """Classes that have a pixel in a mask."""
    return [name for name, bit in BITS.items() if (mask & bit).any()]


def check_classes(classes: Sequence[str]) -> None:
    """Raises: InputError: when there is no such class."""
    if unknown := [name for name in classes if name not in BITS]:
        raise InputError(f"There is no class {unknown[0]}; there are: {', '.join(BITS)}.")


def dice(a: np.ndarray, b: np.ndarray) -> float | None:
    """Dice of two masks, bool; None where both are empty."""
    return round(float(2 * (a & b).sum() / (a.sum() + b.sum())), 4) if (a | b).any() else None


def write_mask(
    path: str | os.PathLike[str], mask: np.ndarray, affine: np.ndarray, image: str | os.PathLike[str] = ""
) -> None:
    """Write a mask in its image's grid; a NIfTI of a NIfTI in the grid of the file.

    Args:
        path: its suffix, one of ``PICTURES`` but JPEG's or of ``VOLUMES``, decides how.
        mask: (H, W) ``uint8``.
        affine: (4, 4) of the image as it was read; pictures have none.
        image: the image's file.
    """
    if str(path).endswith(PICTURES):
        Image.fromarray(np.ascontiguousarray(mask)).save(path)
        return
    if is_nifti(path):
        turn = turn_of(image, nifti_affine(nib.load(image))) if is_nifti(image) else AS_STORED
        content = label_file(turned_back(mask.T[np.newaxis], turn)[0][..., np.newaxis], affine, image)
        Path(path).write_bytes(content if str(path).endswith(".gz") else gzip.decompress(content))
        return
    volume = mask.T[..., np.newaxis]
    writer = ITKWriter(output_dtype=np.uint8)
    writer.set_data_array(volume, channel_dim=None, squeeze_end_dims=False)
    writer.set_metadata({"affine": affine, "original_affine": affine, "spatial_shape": volume.shape})
    writer.write(path, compression=True)


def read_mask(
    path: str | os.PathLike[str], image: MetaTensor | None = None, segments: Sequence[Mapping[str, Any]] = ()
) -> np.ndarray:
    """A mask that an annotation tool sent.

    Args:
        path: a picture of one channel (a palette's indices count, and three equal colors), or a volume of one slice.
        image: the image on which it is drawn; a volume is turned as its affine says. Sizes are compared.
        segments: each with a ``name``: what the values 1, 2, ... stand for, where a tool (3D Slicer) numbers anew.

    Returns:
        (H, W) ``uint8``.

    Raises:
        InputError: when it cannot be read, is a JPEG (which changes values), has another size than its image, or
            values without a meaning, or a segment an unknown name.
    """
    name = Path(path).name
    try:
        if name.lower().endswith(PICTURES):
            with open_picture(path) as picture:
                if picture.format == "JPEG":
                    raise ValueError("lossy")
                values = np.asarray(picture, dtype=np.float64)
        else:
            values, affine = read_image(path)
            turn = AS_STORED if image is None else _turn_onto(affine, image)
            values = turned(values, affine, turn)[0].transpose(2, 1, 0)
    except Exception as error:
        raise InputError(f"The mask {name} cannot be read; send a PNG.") from error
    if values.ndim == 3 and values.shape[2] <= 4:
        if values.shape[2] in (2, 4) and np.ptp(values[..., -1]) > 0:
            raise InputError(f"The mask {name} is transparent in part; send one channel of whole numbers.")
        colors = values[..., :3] if values.shape[2] > 2 else values[..., :1]
        if (colors != colors[..., :1]).any():
            raise InputError(f"The mask {name} is in color; send one channel of whole numbers.")
        values = colors[..., 0]
    size = values.shape[::-1] if image is None else tuple(image.shape[1:])
    if values.shape != size[::-1]:
        found = " x ".join(str(length) for length in values.shape[::-1])
        raise InputError(f"The mask {name} is {found} pixels, its image is {size[0]} x {size[1]}; draw on the image.")
    largest = sum(BITS.values())
    wrong = np.unique(values[(values < 0) | (values > largest) | (values != np.round(values))])
    if wrong.size:
        raise InputError(f"The mask {name} has the value {wrong[0]:g}; values are whole numbers from 0 to {largest}.")
    meanings, names = label_values(list(BITS)), [str(segment.get("name")) for segment in segments]
    if unknown := [name for name in names if name not in meanings]:
        raise InputError(f"There is no class {unknown[0]}; segments may be named: {', '.join(meanings)}.")
    table = np.arange(256, dtype=np.uint8)
    table[1 : len(names) + 1] = [meanings[name] for name in names]
    return table[values.astype(np.uint8)]


def _turn_onto(affine: np.ndarray, image: MetaTensor) -> np.ndarray:
    """The turn that brings a mask with an affine, or one that says nothing, onto the grid of its image as it was read.

    Raises:
        ValueError: when they lie in different planes.
    """
    target = np.asarray(image.meta["original_affine"])
    if says_nothing(affine) or says_nothing(target):
        return np.asarray(image.meta["turn"])
    found, expected = (nib.io_orientation(axes)[:2] for axes in (affine, target))
    return np.asarray(nib.orientations.ornt_transform(found, expected), dtype=int)
