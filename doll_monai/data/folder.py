"""Films in a folder, for inference on one's own images."""

from __future__ import annotations

import os
from pathlib import Path

from doll_monai.errors import InputError

FILM_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".nii", ".nii.gz", ".mha")
"""File names that are taken for films."""


def find_films(folder: str | os.PathLike) -> list[dict[str, str]]:
    """Records (``image``) of all films in a folder and the folders below it, sorted by path.

    Raises:
        InputError: when the folder does not exist or holds no film.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; give dataset_dir, a folder of radiographs.")
    films = sorted(str(path) for path in folder.rglob("*") if path.name.lower().endswith(FILM_SUFFIXES))
    if not films:
        raise InputError(f"The folder {folder} holds no radiograph ({', '.join(FILM_SUFFIXES)}).")
    return [{"image": film} for film in films]
