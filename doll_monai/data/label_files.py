"""Masks and labels as ``uint8`` NIfTI files, written atomically, the same bytes for the same values."""

from __future__ import annotations

import gzip
import os
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor

from doll_monai.data.geometry import is_nifti, turned_back
from doll_monai.utils.atomic import write_atomic

PLACE = (
    *("sform_code", "srow_x", "srow_y", "srow_z", "qform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "xyzt_units"),
)
"""Fields of a NIfTI's header that say where it lies, beside the spacing."""


def label_file(
    label: np.ndarray, affine: np.ndarray | None = None, image: str | os.PathLike[str] | None = None
) -> bytes:
    """A mask, (W, H), or a label, (W, H, 1, T), ``uint8``, as the content of a ``.nii.gz``.

    ``LoadImaged(ensure_channel_first=True)`` gives a label back as (T, W, H, 1).

    Args:
        affine: (4, 4), such that the label overlays its image; identity by default.
        image: the file on whose grid it lies; when that is a NIfTI, all that it says of its place is repeated instead.
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_xyzt_units("mm")
    place: Any = np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64)
    if image is not None and is_nifti(image):
        stored: Any = nib.load(image).header
        for field in PLACE:
            header[field] = stored[field]
        header["pixdim"][:4] = stored["pixdim"][:4]
        place = None
    return gzip.compress(nib.Nifti1Image(label, place, header).to_bytes(), compresslevel=6, mtime=0)


def write_label(path: str | os.PathLike[str], label: np.ndarray, affine: np.ndarray | None = None) -> None:
    """Write a channel-first label, (T, W, H), to a ``.nii.gz``; an ``InputError`` when it cannot be written."""
    stored = np.moveaxis(np.asarray(label, dtype=np.uint8), 0, -1)[:, :, np.newaxis, :]
    write_atomic(path, label_file(stored, affine))


def mask_of_image(mask: np.ndarray, image: MetaTensor) -> bytes:
    """A mask, (T, W, H), on the grid of an image as it was read, as a ``.nii.gz`` on the grid of the image's file.

    Several channels are stored as (W, H, 1, T), one as (W, H); as (W, H, 1) where a NIfTI of the image has three axes,
    or the image stands upright in space: ITK reads no third coordinate of a file of two axes.
    """
    affine, path = np.asarray(image.meta["original_affine"]), image.meta["filename_or_obj"]
    stored_image: Any = nib.load(path) if is_nifti(path) else None
    flat = stored_image.ndim == 2 if is_nifti(path) else not affine[2, :2].any()
    stored = np.asarray(turned_back(mask, np.asarray(image.meta["turn"])), dtype=np.uint8)
    stored = np.moveaxis(stored, 0, -1)[:, :, np.newaxis, :]
    if len(mask) == 1:
        stored = stored[:, :, 0, 0] if flat else stored[..., 0]
    return label_file(stored, affine, path)
