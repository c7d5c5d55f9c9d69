"""Images in a folder, for inference on one's own images."""

from __future__ import annotations

import os
from pathlib import Path

from doll_monai.data.datalist import load_datalist
from doll_monai.utils.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".nii", ".nii.gz", ".mha", ".nrrd", ".img")
"""File names that are taken for images."""


def find_images(
    folder: str | os.PathLike, datalist: str | os.PathLike | None = None, section: str = "test"
) -> list[dict[str, str]]:
    """Records (``image``) of images, sorted by path.

    Args:
        folder: the images are in it and in the folders below it.
        datalist: a ``dataset.json`` whose images are relative to the folder; only those are taken then.
        section: section of the datalist.

    Raises:
        InputError: when the folder does not exist or holds no image, or the datalist has no such section.
    """
    if datalist is not None:
        return [{"image": record["image"]} for record in load_datalist(datalist, section, folder)]
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; give dataset_dir, a folder of radiographs.")
    images = sorted(str(path) for path in folder.rglob("*") if path.name.lower().endswith(IMAGE_SUFFIXES))
    if not images:
        raise InputError(f"The folder {folder} holds no radiograph ({', '.join(IMAGE_SUFFIXES)}).")
    return [{"image": image} for image in images]
