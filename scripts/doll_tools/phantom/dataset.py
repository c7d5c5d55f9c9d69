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

import numpy as np
from PIL import Image

from doll_monai.data.datalist import csv_file
from doll_monai.findings import FINDINGS
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.phantom.anatomy import draw_person
from doll_tools.phantom.image import Radiograph, draw_image, draw_lateral

COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS)
STRUCTURES = ("right_lung", "left_lung", "heart", "clavicles", "infection")
TABLES = {
    "truth": ("Path", "finding", "mask"),
    "index": ("id", "image", "patient", *STRUCTURES, "license"),
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
_IMAGE, _PERSON, _STUDY, _LABELS, _LATERAL = range(5)


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
        number of rows of each CSV file.

    Raises:
        InputError: for arguments out of range, and where a data set is already there.
    """
    for name, value, least in (("count", count, MIN_COUNT), ("seed", seed, 0), ("size", size, MIN_SIZE)):
        if not isinstance(value, int) or value < least:
            raise InputError(f"--{name} is {value!r}; give a whole number of at least {least}.")
    if not isinstance(valid_share, int | float) or not 0 < valid_share < 1:
        raise InputError(f"--valid_share is {valid_share!r}; give a number between 0 and 1, such as 0.2.")
    root = Path(str(output)).expanduser().resolve()
    if root.is_file():
        raise InputError(f"'{root}' is a file; choose a folder for --output.")
    if (root / "train.csv").exists():
        raise InputError(f"'{root}' already holds a data set (train.csv); choose another folder or delete it.")
    rows: dict[str, list[list[str]]] = {name: [] for name in TABLES}
    studies = list(plan(count, seed, valid_share))
    for number, (patient, study, split) in enumerate(Bar(studies, name="phantom images", quiet=quiet)):
        _write_study(root, number, patient, study, split, seed, size, rows)
    settings = {"count": count, "seed": seed, "size": size, "valid_share": valid_share}
    write_atomic(root / "phantom.json", (json.dumps({"synthetic": True, **settings}) + "\n").encode())
    for name, columns in TABLES.items():
        write_atomic(root / f"{name}.csv", csv_file(columns, rows[name]))
    return {f"{name}.csv": len(written) for name, written in rows.items()}


def plan(count: int, seed: int, valid_share: float) -> Iterator[tuple[int, int, str]]:
    """Patient from 0, study 1 or 2, and ``train`` or ``valid``, image by image; a longer plan begins like a shorter."""
    patient, study = -1, 2
    for image in range(count):
        again = study == 1 and np.random.default_rng([seed, _STUDY, image]).random() < SECOND_STUDY_SHARE
        patient, study = (patient, 2) if again else (patient + 1, 1)
        valid = int((patient + 1) * valid_share + 1e-9) > int(patient * valid_share + 1e-9)
        yield patient, study, "valid" if valid else "train"


def report_labels(rng: np.random.Generator, image: Radiograph) -> list[str]:
    """Labels as mined from a report: blank (unmentioned), 0.0, 1.0 or -1.0 (uncertain), in the order of ``FINDINGS``.

    A finding that is there is mostly mentioned as such, a subtle one more often as uncertain; one that is not there is
    mostly not mentioned.
    """
    labels = []
    for name, draw in zip(FINDINGS, rng.random(len(FINDINGS)), strict=True):
        if image.labels[name] == 1:
            uncertain = 0.3 if image.severities.get(name, 1.0) < 0.5 else 0.05
            sure = name in ("No Finding", "Support Devices") or draw >= uncertain
            labels.append("1.0" if sure else "-1.0")
        elif name == "No Finding":
            labels.append("")
        else:
            labels.append("-1.0" if draw < 0.015 else "0.0" if draw < 0.2 else "")
    return labels


def _write_study(
    root: Path,
    number: int,
    patient: int,
    study: int,
    split: str,
    seed: int,
    size: int,
    rows: dict[str, list[list[str]]],
) -> None:
    """Draw and write the images and masks of a study, the image's number from 0, and append its rows."""
    person = draw_person(np.random.default_rng([seed, _PERSON, patient]))
    drawn = draw_image(np.random.default_rng([seed, _IMAGE, number]), size, person)
    name = f"patient{patient + 1:05d}"
    folder = f"{split}/{name}/study{study}"
    image, lateral = f"{folder}/view1_frontal.jpg", f"{folder}/view2_lateral.jpg"
    path = f"{root.name}/{image}"
    labels = [str(drawn.labels[finding]) for finding in FINDINGS]
    if split == "train":
        labels = report_labels(np.random.default_rng([seed, _LABELS, number]), drawn)
    rows[split].append([path, person.sex, str(person.age), "Frontal", drawn.projection, *labels])
    _write_image(root / image, drawn.image)
    for finding, mask in drawn.masks.items():
        target = f"truth/{folder}/view1_frontal/{finding.lower().replace(' ', '_')}.png"
        _write_image(root / target, mask)
        rows["truth"].append([path, finding, target])
    masks = drawn.structures | {"infection": drawn.masks.get("Pneumonia", np.zeros_like(drawn.body))}
    targets = {part: f"masks/{folder}/view1_frontal/{part}.png" for part in STRUCTURES}
    for part, target in targets.items():
        _write_image(root / target, masks[part])
    rows["index"].append([f"{name}_study{study}", image, name, *targets.values(), LICENCE])
    rng = np.random.default_rng([seed, _LATERAL, number])
    if rng.random() < LATERAL_SHARE:
        _write_image(root / lateral, draw_lateral(rng, size))
        rows[split].append([f"{root.name}/{lateral}", person.sex, str(person.age), "Lateral", "", *labels])


def _write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(image if image.dtype == np.uint8 else image.astype(np.uint8) * 255)
    picture.save(path, quality=92, compress_level=1)  # the first is JPEG's, the second PNG's
