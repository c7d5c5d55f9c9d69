"""The layout of label files: a ``uint8`` NIfTI (W, H, 1, T), written atomically, the same bytes for the same label."""

from __future__ import annotations

import gzip
import os

import nibabel as nib
import numpy as np

from doll_monai.utils.atomic import write_atomic


def label_file(label: np.ndarray, affine: np.ndarray | None = None) -> bytes:
    """A label as the content of a ``.nii.gz``, in mm.

    Args:
        label: (W, H, 1, T) ``uint8``; ``LoadImaged(ensure_channel_first=True)`` gives it back as (T, W, H, 1).
        affine: (4, 4) such that the label overlays its image; identity by default.
    """
    image = nib.Nifti1Image(label, np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64))
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)


def read_label(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """A file of this layout, read in half the time that a reader of any image takes.

    Returns:
        the label, (T, W, H) ``uint8``, and its affine, (4, 4); None for a NIfTI of another layout.

    Raises:
        Exception: when it is no NIfTI, missing or truncated.
    """
    image = nib.Nifti1Image.from_filename(path)
    if len(image.shape) != 4 or image.shape[2] != 1 or image.get_data_dtype() != np.uint8 or image.affine is None:
        return None
    stored = np.asarray(image.dataobj)
    if stored.dtype != np.uint8:  # a factor in the header makes other numbers of them
        return None
    return np.ascontiguousarray(np.moveaxis(stored[:, :, 0], -1, 0)), image.affine


def write_label(path: str | os.PathLike[str], label: np.ndarray, affine: np.ndarray | None = None) -> None:
    """Write a channel-first label, (T, W, H), to a ``.nii.gz``; an ``InputError`` when it cannot be written."""
    stored = np.moveaxis(np.asarray(label, dtype=np.uint8), 0, -1)[:, :, np.newaxis, :]
    write_atomic(path, label_file(stored, affine))
