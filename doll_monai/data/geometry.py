"""How an image lies: its affine, the turn that sets it upright, and the metadata that say so.

Affines are NIfTI's: (4, 4), from index to mm, axes to the right, to the front and up (RAS).
"""

from __future__ import annotations

import os
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import SpaceKeys

PICTURE = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Of a picture, as ITK and so every viewer of volumes places it: columns to the left, rows to the back."""
AS_STORED = np.array([[0, 1], [1, 1]])
"""The turn of an image that is not turned, as nibabel writes it: for both axes, which it becomes and in what sense."""


def is_nifti(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name is that of a NIfTI."""
    return os.fspath(path).lower().endswith((".nii", ".nii.gz"))


def says_nothing(affine: np.ndarray) -> bool:
    """Whether an affine is the identity, also of a smaller or larger grid over the same image."""
    scale = np.diagonal(affine)[:2]
    identity = np.diag([*scale, 1, 1])
    identity[:2, 3] = (scale - 1) / 2
    return bool((scale > 0).all() and np.allclose(affine, identity, atol=1e-4))


def upright_turn(affine: np.ndarray) -> np.ndarray:
    """The turn after which columns run to the patient's left (in a lateral image to the back) and rows down.

    In a transverse plane rows run to the back.
    """
    axes = nib.io_orientation(affine)[:2]
    first = 0 if axes[0, 0] < axes[1, 0] else 1
    return np.array([[first, -axes[0, 1]], [1 - first, -axes[1, 1]]], dtype=int)


def turn_of(path: str | os.PathLike[str], affine: np.ndarray) -> np.ndarray:
    """The turn that reading gives an image; of a NIfTI alone, and only where its affine says how it lies."""
    return upright_turn(affine) if is_nifti(path) and not says_nothing(affine) else AS_STORED


def nifti_affine(image: Any) -> np.ndarray:
    """The affine of nibabel's NIfTI image, the identity where both its codes are 0."""
    placed = image.header["sform_code"] > 0 or image.header["qform_code"] > 0
    return np.asarray(image.affine) if placed else np.eye(4)


def turned(values: np.ndarray, affine: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values, (C, W, H), and affine of an image that is turned."""
    back = np.eye(4)
    back[np.ix_((0, 1, 3), (0, 1, 3))] = nib.orientations.inv_ornt_aff(turn, values.shape[1:])
    return _apply(values, turn), affine @ back


def turned_back(values: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Values, (C, W, H), on the grid that an image had before it was turned."""
    return _apply(values, nib.orientations.ornt_transform(AS_STORED, turn))


def _apply(values: np.ndarray, turn: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(nib.apply_orientation(values.transpose(1, 2, 0), turn).transpose(2, 0, 1))


def with_meta(
    values: np.ndarray, affine: np.ndarray, path: str | os.PathLike[str], turn: np.ndarray = AS_STORED
) -> MetaTensor:
    """An image, (C, W, H), with the same metadata for every file type, so that several types can stand in one batch.

    ``original_affine`` and ``spatial_shape`` are those of the grid as it is given, ``turn`` is what was done to the
    file's grid before.
    """
    meta: dict[str, Any] = {
        "filename_or_obj": str(path),
        "affine": torch.as_tensor(affine),
        "original_affine": torch.as_tensor(affine).clone(),
        "spatial_shape": torch.tensor(values.shape[1:]),
        "turn": torch.as_tensor(turn),
        "original_channel_dim": float("nan"),
        "space": SpaceKeys.RAS,
    }
    return MetaTensor(torch.from_numpy(values), meta=meta)
