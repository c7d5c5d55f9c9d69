"""Which images are learnt from, chosen on and tested on: by a hash alone, the same for every cell and machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from doll_monai.data.datalist import read_table, relative_path
from doll_monai.utils.errors import InputError
from doll_tools.prepare.masks import PATIENT_COLUMN, parse_classes
from doll_tools.prepare.sections import patient_position, patient_section

SALT = 240108469
"""Put before every patient's name when it is hashed. Another number, another split: it must never change."""
SHARES = {"training": 0.4, "validation": 0.2, "test": 0.4}
"""Share of the patients in each section, met on average; many to test on, since there are few to learn from. Ours."""
INDEX = "index.csv"
FOLD_COLUMN = "fold"
HALVES = {"lungs": ("right_lung", "left_lung")}
"""Columns that a class is made of where a table has no column of its name."""
Columns = dict[str, tuple[str, ...]]


class Radiograph(NamedTuple):
    """A row of a table of images: its path relative to the table's folder, its patient and its mask files."""

    image: str
    patient: str
    masks: tuple[str, ...]
    fold: str = ""


class ImageTable(NamedTuple):
    """A folder with ``index.csv``: each class to its columns of masks, and the images."""

    folder: Path
    columns: Columns
    images: Sequence[Radiograph]


def mask_columns(
    folder: Path, classes: str | Sequence[str] | None, names: Sequence[str], some: bool = False
) -> Columns:
    """Mask columns of each class: those given, else the column of its name or its halves; ``some`` may be missing."""
    if classes is not None:
        return parse_classes(classes)
    index = folder / INDEX
    _, header = next(read_table(index, ()), (0, {}))
    options = {name: (name,) if name in header else HALVES.get(name, (name,)) for name in names}
    found: Columns = {name: parts for name, parts in options.items() if set(parts) <= set(header)}
    missing = [name for name in names if name not in found]
    if missing and not (some and found):
        raise InputError(f"{index} has no column {missing[0]}; say by --classes which columns the classes are.")
    return found


def read_images(folder: Path, columns: Columns) -> ImageTable:
    """The images of a folder's ``index.csv``; the patient is the image itself where the table has no such column."""
    index = folder / INDEX
    names = [column for group in columns.values() for column in group]
    images = []
    for line, row in read_table(index, ["image", *names]):
        where = f"{index}, line {line}"
        image = relative_path(row["image"], where)
        patient = row.get(PATIENT_COLUMN, image)
        if not patient:
            raise InputError(f"{where}: {PATIENT_COLUMN} is blank.")
        masks = tuple(relative_path(row[name], where) for name in names if row[name])
        images.append(Radiograph(image, patient, masks, row.get(FOLD_COLUMN, "")))
    if not images:
        raise InputError(f"{index} has no rows.")
    return ImageTable(folder, columns, images)


def sections_of(images: Sequence[Radiograph], fold: str | None = None) -> dict[str, list[Radiograph]]:
    """The images of each section, in order; a patient is in one section alone.

    Test images are those of a ``fold`` of the table; the others are split as far as they are not for test.
    ``InputError`` when a section is empty, the fold is unknown, or a patient is in it and in another.
    """
    shares = SHARES if fold is None else {name: share for name, share in SHARES.items() if name != "test"}
    total = sum(shares.values())
    shares = {name: share / total for name, share in shares.items()}
    section = {image.patient: patient_section(image.patient, shares, SALT) for image in images}
    if fold is not None:
        inside = {image.patient for image in images if image.fold == fold}
        if not inside or inside & {image.patient for image in images if image.fold != fold}:
            known = ", ".join(sorted({image.fold for image in images if image.fold})) or "none"
            raise InputError(f"No fold '{fold}' has patients of its own; the column {FOLD_COLUMN} has: {known}.")
        section |= dict.fromkeys(inside, "test")
    result = {name: [image for image in images if section[image.patient] == name] for name in SHARES}
    for name, members in result.items():
        if not members:
            counts = f"{len(images)} images of {len(section)} patients"
            raise InputError(f"{counts} leave none for {name}; give more images.")
    return result


def first_shots(training: Sequence[Radiograph], shots: int, seed: int) -> list[Radiograph]:
    """The first images of a seed's order, with more shots the same and more; ``InputError`` when there are fewer."""
    if shots > len(training):
        raise InputError(f"{shots} shots are asked for; there are {len(training)} training images.")
    return sorted(training, key=lambda image: (patient_position(image.image, seed), image.image))[:shots]


def check_apart(sections: Mapping[str, tuple[Path, Sequence[Radiograph]]]) -> None:
    """Refuse (``InputError``) an image that is, under whatever name, in two sections: of folder and images each."""
    seen: dict[str, tuple[str, str]] = {}
    for section, (folder, images) in sections.items():
        for image in images:
            other, where = seen.setdefault(_hash(folder / image.image), (image.image, section))
            if where != section:
                name = f"{image.image} ({section})"
                raise InputError(f"The image {name} has the same content as {other} ({where}); remove one of them.")


def data_hash(table: ImageTable) -> str:
    """Hash of the images, their patients and masks; ``InputError`` when a file is missing."""
    digest = hashlib.sha256()
    for image in table.images:
        for name in (image.image, *image.masks):
            digest.update(f"{name}:{image.patient}:{_hash(table.folder / name)}".encode())
    return digest.hexdigest()


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
