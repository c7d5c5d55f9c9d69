"""The files of a data set by their names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from doll_monai.utils.errors import InputError

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".dicom", ".dic"),
    *(".nii", ".nii.gz", ".mha", ".nrrd", ".img"),
)
"""File names that are taken for images; a file of another name is one if it is DICOM."""


def stem(path: str | os.PathLike[str]) -> str:
    """A path without the suffix of an image; what else stands behind a dot, as in ``1.2.840.4711``, is its name."""
    text = Path(path).as_posix()
    suffix = max((end for end in IMAGE_SUFFIXES if text.lower().endswith(end)), key=len, default="")
    return text.removesuffix(text[len(text) - len(suffix) :]) if suffix else text


def output_path(
    image: str | os.PathLike[str], dataset_dir: str | os.PathLike[str], output_dir: str | os.PathLike[str], ending: str
) -> Path:
    """The file of an image below ``output_dir``, its folders repeated: its own name with an ending instead."""
    return Path(output_dir, stem(os.path.relpath(image, dataset_dir)) + ending)


def refuse_twins(images: Iterable[str]) -> None:
    """Raises: InputError: when two images would have the same name in the output."""
    first: dict[str, str] = {}
    for image in images:
        other = first.setdefault(stem(image), image)
        if other != image:
            raise InputError(f"{other} and {image} would have the same name in the output; rename one of them.")
