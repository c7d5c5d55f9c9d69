"""The layout of label files: a ``uint8`` NIfTI (W, H, 1, T), written atomically, the same bytes for the same label."""

from __future__ import annotations

import gzip
import os

import nibabel as nib
import numpy as np

from doll_monai.utils.atomic import write_atomic


def label_file(label: np.ndarray, affine: np.ndarray | None = None) -> bytes:
    """A label, (W, H, 1, T) ``uint8``, as the content of a ``.nii.gz``, in mm.

    ``LoadImaged(ensure_channel_first=True)`` gives it back as (T, W, H, 1). The affine, (4, 4), is such that the label
    overlays its image; identity by default.
    """
    image = nib.Nifti1Image(label, np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64))
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)


def write_label(path: str | os.PathLike[str], label: np.ndarray, affine: np.ndarray | None = None) -> None:
    """Write a channel-first label, (T, W, H), to a ``.nii.gz``; an ``InputError`` when it cannot be written."""
    stored = np.moveaxis(np.asarray(label, dtype=np.uint8), 0, -1)[:, :, np.newaxis, :]
    write_atomic(path, label_file(stored, affine))
