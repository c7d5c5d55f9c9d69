"""Where CheXpert's tables and images lie, in the forms in which it is distributed.

``CheXpert-v1.0-small`` and a joined ``CheXpert-v1.0`` have ``train.csv``, ``train/`` and ``valid/``. The full set comes
as four archives: ``CheXpert-v1.0 batch 1 (validate & csv)`` with the tables and ``valid/``, and ``batch 2 (train 1)``
to ``batch 4 (train 3)`` with the patients of ``train/`` directly below. CheXlocalize brings validation and test images
in ``val/`` and ``test/`` with ``val_labels.csv`` and ``test_labels.csv``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path, PurePosixPath

from doll_monai.utils.errors import InputError

LOOKED_FOR = 200
"""Images that are looked for, to know where the others are."""
_BATCH = re.compile(r"CheXpert-v1\.0 batch \d+ \(.+\)")


def find_table(dataset_dir: str | os.PathLike[str], name: str) -> Path:
    """A table below the data set, or in the batch that has it.

    Raises:
        InputError: when it is in neither.
    """
    folder = Path(dataset_dir)
    for place in (folder, *batches(folder)):
        if (place / name).is_file():
            return place / name
    raise InputError(f"{folder / name} does not exist; dataset_dir must be the folder with CheXpert's CSV files.")


def batches(dataset_dir: str | os.PathLike[str]) -> list[Path]:
    """Folders of the full set's archives, in the order of their numbers."""
    folder = Path(dataset_dir)
    return sorted(path for path in folder.glob("CheXpert-v1.0 batch *") if _BATCH.fullmatch(path.name))


def below_dataset(paths: list[str], dataset_dir: str | os.PathLike[str], csv_path: Path) -> list[str]:
    """Paths of a table relative to ``dataset_dir``.

    The first path that exists decides for all: it is taken as it is when it exists, else without its first component
    (``CheXpert-v1.0-small/``), else with ``val`` for ``valid``. Where there are batches, each is looked for in them.

    Raises:
        InputError: when none of the first paths exists in any form, or another one starts with another component.
    """
    folder, first = Path(dataset_dir), paths[0]
    name = PurePosixPath(first).parts[0]
    for path, strip, rename in product(paths[:LOOKED_FOR], (False, True), (False, True)):
        moved = _moved(path, strip, rename)
        if moved and os.path.exists(folder / moved):
            break
    else:
        places = _batch_places(folder)
        if places:
            return [_in_batches(path, places) for path in paths]
        raise InputError(
            f"The first frontal images of {csv_path} do not exist below {dataset_dir}, with or without "
            f"'{name}': {first}."
        )
    for path in paths if strip else ():
        if PurePosixPath(path).parts[0] != name:
            raise InputError(f"{csv_path}: the path '{path}' does not start with '{name}' as the first one does.")
    return [_moved(path, strip, rename) for path in paths]


def _moved(path: str, strip: bool, rename: bool) -> str:
    parts = list(PurePosixPath(path).parts)[strip:]
    return "/".join("val" if rename and part == "valid" else part for part in parts)


def _batch_places(folder: Path) -> dict[str, str]:
    """``valid`` and each patient of ``train`` to the batch in which it lies."""
    places = {}
    for batch in batches(folder):
        with os.scandir(batch) as entries:
            places.update({entry.name: batch.name for entry in entries if entry.is_dir()})
    return places


def _in_batches(path: str, places: Mapping[str, str]) -> str:
    """A path as its batch has it; one that is in no batch as the table has it, so that it is missed by its name."""
    parts = PurePosixPath(path).parts
    for index, part in enumerate(parts):
        if part in places:
            return "/".join((places[part], *parts[index:]))
    return path
