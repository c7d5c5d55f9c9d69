"""Writes a set of phantom images in the layout of CheXpert, with their ground truth.

Files in the output folder::

    train.csv, valid.csv                             CheXpert's columns; reports' labels in train, ground truth in valid
    train/patient00001/study1/view1_frontal.jpg      8-bit gray
    truth.csv, truth/...                             one mask a frontal image and drawn finding
    index.csv, masks/...                             lungs, heart, clavicles, and infection for every frontal image

Masks are PNG of the image's size with 0 and 255. The CSV files come last, ``train.csv`` the very last.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from doll_monai.data.datalist import write_atomic
from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.phantom.anatomy import Person, draw_person
from doll_tools.phantom.image import Radiograph, draw_image, draw_lateral
from doll_tools.prepare.preparation import csv_file

COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS)
STRUCTURES = ("right_lung", "left_lung", "heart", "clavicles", "infection")
TABLES = {
    "truth": ("Path", "finding", "mask"),
    "index": ("id", "image", "patient", *STRUCTURES, "licence"),
    "valid": COLUMNS,
    "train": COLUMNS,
}
"""Columns of the CSV files, in the order in which they are written."""
LICENCE = "Apache-2.0"
"""Licence of the drawn images: that of this package."""

MIN_COUNT = 10
MIN_SIZE = 64
SECOND_STUDY_SHARE = 0.18
"""Share of patients with a second study (counted among those that could have one)."""
LATERAL_SHARE = 0.05
JPEG_QUALITY = 92

_STREAM_IMAGE, _STREAM_PERSON, _STREAM_STUDY, _STREAM_LABELS, _STREAM_LATERAL = range(5)


class Study(NamedTuple):
    """One visit of a patient: numbers of its frontal image and its patient from 0, 1 or 2; ``train`` or ``valid``."""

    image: int
    patient: int
    study: int
    split: str

    @property
    def patient_name(self) -> str:
        """Folder of the patient, as CheXpert names it."""
        return f"patient{self.patient + 1:05d}"

    @property
    def folder(self) -> str:
        """Folder of the study inside the data set."""
        return f"{self.split}/{self.patient_name}/study{self.study}"


def write_dataset(
    output: str | os.PathLike[str],
    count: int,
    seed: int = 0,
    size: int = 320,
    valid_share: float = 0.2,
    quiet: bool = False,
) -> dict[str, int]:
    """Write a set of phantom images; the same arguments give the same bytes.

    Args:
        output: folder to write to; it must not hold a ``train.csv`` yet.
        count: number of frontal images in all, at least 10.
        seed: an image depends on this and its own number, not on ``count``.
        size: length of the shorter side of an image in pixels, at least 64.
        valid_share: share of the patients in ``valid.csv``.
        quiet: show no progress.

    Returns:
        numbers of ``train`` and ``valid`` frontal images, ``patients``, ``laterals``, ``masks``, and of each finding.

    Raises:
        InputError: for arguments out of range, and where a data set is already there.
    """
    _check(count, seed, size, valid_share)
    root = Path(str(output)).expanduser().resolve()
    if root.is_file():
        raise InputError(f"'{root}' is a file; choose a folder for --output.")
    if (root / "train.csv").exists():
        raise InputError(f"'{root}' already holds a data set (train.csv); choose another folder or delete it.")
    rows: dict[str, list[list[str]]] = {name: [] for name in TABLES}
    counts = dict.fromkeys(("train", "valid", "patients", "laterals", "masks", *FINDINGS), 0)
    for study in Bar(list(plan(count, seed, valid_share)), name="phantom images", quiet=quiet):
        person = draw_person(np.random.default_rng([seed, _STREAM_PERSON, study.patient]))
        image = draw_image(np.random.default_rng([seed, _STREAM_IMAGE, study.image]), size, person)
        counts[study.split] += 1
        counts["patients"] += study.study == 1
        counts["laterals"] += _write_study(root, study, person, image, seed, size, rows)
        counts["masks"] += len(image.masks)
        for name in FINDINGS:
            counts[name] += int(image.labels[name])
    settings = {"count": count, "seed": seed, "size": size, "valid_share": valid_share}
    write_atomic(root / "phantom.json", (json.dumps({"synthetic": True, **settings}) + "\n").encode())
    for name, columns in TABLES.items():
        write_atomic(root / f"{name}.csv", csv_file(columns, rows[name]))
    return counts


def plan(count: int, seed: int, valid_share: float) -> Iterator[Study]:
    """Deal images to patients and patients to splits; a longer plan begins like a shorter one."""
    patient, number = -1, 2
    for image in range(count):
        rng = np.random.default_rng([seed, _STREAM_STUDY, image])
        again = number == 1 and rng.random() < SECOND_STUDY_SHARE
        patient, number = (patient, 2) if again else (patient + 1, 1)
        valid = int((patient + 1) * valid_share + 1e-9) > int(patient * valid_share + 1e-9)
        yield Study(image, patient, number, "valid" if valid else "train")


def report_labels(rng: np.random.Generator, image: Radiograph) -> list[str]:
    """Labels as mined from a report: blank (unmentioned), 0.0, 1.0 or -1.0 (uncertain), in the order of ``FINDINGS``.

    A finding that is there is mostly mentioned as such, a subtle one more often as uncertain; one that is not there is
    mostly not mentioned.
    """
    labels = []
    for name, draw in zip(FINDINGS, rng.random(len(FINDINGS)), strict=True):
        if image.labels[name] == 1:
            uncertain = 0.3 if image.severities.get(name, 1.0) < 0.5 else 0.05
            uncertain = 0.0 if name in ("No Finding", "Support Devices") else uncertain
            labels.append("-1.0" if draw < uncertain else "1.0")
        elif name == "No Finding":
            labels.append("")
        else:
            labels.append("-1.0" if draw < 0.015 else "0.0" if draw < 0.2 else "")
    return labels


def _check(count: int, seed: int, size: int, valid_share: float) -> None:
    for name, value, least in (("count", count, MIN_COUNT), ("seed", seed, 0), ("size", size, MIN_SIZE)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"--{name} is {value!r}; give a whole number of at least {least}.")
    if isinstance(valid_share, bool) or not isinstance(valid_share, (int, float)) or not 0 < valid_share < 1:
        raise InputError(f"--valid_share is {valid_share!r}; give a number between 0 and 1, such as 0.2.")


def _write_study(
    root: Path,
    study: Study,
    person: Person,
    radiograph: Radiograph,
    seed: int,
    size: int,
    rows: dict[str, list[list[str]]],
) -> bool:
    """Write the images and masks of a study and append its rows; True where it has a side view too."""
    image = f"{study.folder}/view1_frontal.jpg"
    _write_image(root / image, radiograph.image)
    path = f"{root.name}/{image}"
    truth = [str(radiograph.labels[name]) for name in FINDINGS]
    mined = report_labels(np.random.default_rng([seed, _STREAM_LABELS, study.image]), radiograph)
    labels = truth if study.split == "valid" else mined
    rows[study.split].append([path, person.sex, str(person.age), "Frontal", radiograph.projection, *labels])
    for name, mask in radiograph.masks.items():
        target = f"truth/{study.folder}/view1_frontal/{name.lower().replace(' ', '_')}.png"
        _write_image(root / target, mask)
        rows["truth"].append([path, name, target])
    parts = radiograph.structures | {"infection": radiograph.masks.get("Pneumonia", np.zeros_like(radiograph.body))}
    targets = {name: f"masks/{study.folder}/view1_frontal/{name}.png" for name in STRUCTURES}
    for name, target in targets.items():
        _write_image(root / target, parts[name])
    name = f"{study.patient_name}_study{study.study}"
    rows["index"].append([name, image, study.patient_name, *targets.values(), LICENCE])
    rng = np.random.default_rng([seed, _STREAM_LATERAL, study.image])
    lateral = bool(rng.random() < LATERAL_SHARE)
    if lateral:
        image = f"{study.folder}/view2_lateral.jpg"
        _write_image(root / image, draw_lateral(rng, size))
        rows[study.split].append([f"{root.name}/{image}", person.sex, str(person.age), "Lateral", "", *labels])
    return lateral


def _write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(image if image.dtype == np.uint8 else image.astype(np.uint8) * 255)
    picture.save(path, quality=JPEG_QUALITY, compress_level=1)  # the first is JPEG's, the second PNG's
