"""Which images are learnt from, chosen on and tested on: by a hash alone, the same for every cell and machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from doll_monai.data.datalist import read_table, relative_path
from doll_monai.utils.errors import InputError
from doll_tools.prepare.masks import PATIENT_COLUMN
from doll_tools.prepare.sections import patient_position, patient_section

SALT = 240108469
"""Put before every patient's name when it is hashed. Another number, another split: it must never change."""
SHARES = {"training": 0.4, "validation": 0.2, "test": 0.4}
"""Share of the patients in each section, met on average; many to test on, since there are few to learn from. Ours."""
INDEX, IMAGE = "index.csv", "image"


@dataclass(frozen=True)
class Radiograph:
    """A row of a table of images: its path relative to the table's folder, its patient and its mask files."""

    image: str
    patient: str
    masks: tuple[str, ...]


def read_images(folder: Path, classes: Mapping[str, Sequence[str]]) -> list[Radiograph]:
    """The images of a folder's ``index.csv``; the patient is the image itself where the table has no such column.

    ``InputError`` when the table or a column is missing, a path leads out of the folder or a patient is blank.
    """
    index = folder / INDEX
    columns = [column for group in classes.values() for column in group]
    images = []
    for line, row in read_table(index, [IMAGE, *columns]):
        where = f"{index}, line {line}"
        image = relative_path(row[IMAGE], where)
        patient = row.get(PATIENT_COLUMN, image)
        if not patient:
            raise InputError(f"{where}: {PATIENT_COLUMN} is blank.")
        masks = tuple(relative_path(row[column], where) for column in columns if row[column])
        images.append(Radiograph(image, patient, masks))
    if not images:
        raise InputError(f"{index} has no rows.")
    return images


def sections_of(images: Sequence[Radiograph]) -> dict[str, list[Radiograph]]:
    """The images of each section (``InputError`` when one is empty), in order; a patient is in one section alone."""
    section = {image.patient: patient_section(image.patient, SHARES, SALT) for image in images}
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
    """Refuse an image that is, under whatever name, in two sections.

    Args:
        sections: section to the folder of its images and the images.

    Raises:
        InputError: when two images of different sections have the same content, or one is missing.
    """
    seen: dict[str, tuple[str, str]] = {}
    for section, (folder, images) in sections.items():
        for image in images:
            other, where = seen.setdefault(_hash(folder / image.image), (image.image, section))
            if where != section:
                name = f"{image.image} ({section})"
                raise InputError(f"The image {name} has the same content as {other} ({where}); remove one of them.")


def data_hash(folder: Path, images: Sequence[Radiograph]) -> str:
    """Hash of the images, their patients and masks; ``InputError`` when a file is missing."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.image}:{image.patient}:{_hash(folder / image.image)}".encode())
        for mask in image.masks:
            digest.update(f"{mask}:{_hash(folder / mask)}".encode())
    return digest.hexdigest()


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
