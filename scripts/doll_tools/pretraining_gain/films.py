"""The phantom's films for pre-training and for the task."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from doll_monai.data.datalist import read_table, relative_path
from doll_monai.findings import finding_index
from doll_monai.utils.atomic import write_whole
from doll_monai.utils.errors import InputError
from doll_tools.phantom.dataset import MIN_COUNT, plan
from doll_tools.prepare.masks import PATIENT_COLUMN

FILMS, TRUTH, INDEX = "films", "truth.csv", "index.csv"
VALID_SHARE = 0.01
"""Share of the patients that the phantom keeps for its ``valid.csv``, which is not used here."""
TRAIN = "train/"
OPACITY = "Lung Opacity"
TASK_CLASSES = "lungs=right_lung+left_lung,heart,opacity"
"""Classes of the task; ``opacity`` is the union of all opacities of the lung."""
TASK_COLUMNS = ("right_lung", "left_lung", "heart")


@dataclass(frozen=True)
class PhantomFilm:
    """A frontal film: its path in the phantom's folder, its patient, and the mask file of each observation it shows."""

    image: str
    patient: str
    masks: dict[int, str]


def read_films(folder: Path) -> list[PhantomFilm]:
    """The frontal films of the phantom's ``train.csv``, in the order in which they were drawn.

    Raises:
        InputError: when the folder holds no phantom.
    """
    masks: dict[str, dict[int, str]] = {}
    for line, row in read_table(folder / TRUTH, ("Path", "finding", "mask")):
        where = f"{folder / TRUTH}, line {line}"
        image = relative_path(row["Path"], where).partition("/")[2]
        masks.setdefault(image, {})[finding_index(row["finding"])] = relative_path(row["mask"], where)
    rows = [row for _, row in read_table(folder / INDEX, ("image", PATIENT_COLUMN))]
    films = [PhantomFilm(row["image"], row[PATIENT_COLUMN], masks.get(row["image"], {})) for row in rows]
    return [film for film in films if film.image.startswith(TRAIN)]


def read_grey(path: Path) -> np.ndarray:
    """A film or mask as (H, W) ``uint8``."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L"))
    except OSError as error:
        raise InputError(f"{path} cannot be read; draw the phantom again.") from error


def films_to_draw(needed: int, seed: int) -> int:
    """How many films the phantom must draw to have so many in ``train.csv``."""
    for number in count(max(needed, MIN_COUNT)):
        if sum(study.split == "train" for study in plan(number, seed, VALID_SHARE)) >= needed:
            return number
    raise AssertionError


def films_needed(validation: int, training: int) -> int:
    """Films that suffice for both sections; the last validation patient may have a second film, which is left out."""
    return validation + training + 1


def split(films: Sequence[PhantomFilm], validation: int) -> tuple[list[PhantomFilm], list[PhantomFilm]]:
    """Validation films, the same for every number of training films, and all others of other patients."""
    patients = {film.patient for film in films[:validation]}
    return list(films[:validation]), [film for film in films[validation:] if film.patient not in patients]


def write_task_index(folder: Path) -> int:
    """Write ``index.csv`` of the task: the films in ``films`` below that show an opacity of the lung.

    Every film has each class, so none is scored by an empty truth.

    Returns:
        the number of films.

    Raises:
        InputError: when there is none.
    """
    source = folder / FILMS
    opacities = {
        relative_path(row["Path"], str(source / TRUTH)).partition("/")[2]: row["mask"]
        for _, row in read_table(source / TRUTH, ("Path", "finding", "mask"))
        if row["finding"] == OPACITY
    }
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("image", PATIENT_COLUMN, *TASK_COLUMNS, "opacity"))
    number = 0
    for _, row in read_table(source / INDEX, ("image", PATIENT_COLUMN, *TASK_COLUMNS)):
        if row["image"] in opacities:
            paths = (row["image"], *(row[name] for name in TASK_COLUMNS), opacities[row["image"]])
            image, *masks = (f"{FILMS}/{path}" for path in paths)
            writer.writerow((image, row[PATIENT_COLUMN], *masks))
            number += 1
    if not number:
        raise InputError(f"No film in {source} shows an opacity; give more --task_films.")
    content, path = stream.getvalue().encode(), folder / INDEX
    if not path.is_file() or path.read_bytes() != content:
        write_whole(path, content)
    return number
