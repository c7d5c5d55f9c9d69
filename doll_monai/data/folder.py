"""Films in a folder, for inference on one's own images."""

from __future__ import annotations

import os
from pathlib import Path

from doll_monai.data.datalist import load_datalist
from doll_monai.utils.errors import InputError

FILM_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".nii", ".nii.gz", ".mha", ".nrrd", ".img")
"""File names that are taken for films."""


def find_films(
    folder: str | os.PathLike, datalist: str | os.PathLike | None = None, section: str = "test"
) -> list[dict[str, str]]:
    """Records (``image``) of films, sorted by path.

    Args:
        folder: the films are in it and in the folders below it.
        datalist: a ``dataset.json`` whose images are relative to the folder; only those are taken then.
        section: section of the datalist.

    Raises:
        InputError: when the folder does not exist or holds no film, or the datalist has no such section.
    """
    if datalist is not None:
        return [{"image": record["image"]} for record in load_datalist(datalist, section, folder)]
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; give dataset_dir, a folder of radiographs.")
    films = sorted(str(path) for path in folder.rglob("*") if path.name.lower().endswith(FILM_SUFFIXES))
    if not films:
        raise InputError(f"The folder {folder} holds no radiograph ({', '.join(FILM_SUFFIXES)}).")
    return [{"image": film} for film in films]
