"""NIH ChestX-ray14 (Wang et al. 2017) as its owner distributes it, with its findings as CheXpert's observations.

The findings were mined from reports, so a finding that is not listed counts as absent (0), never as uncertain. Images
are spread over ``images_001/images`` ... ``images_012/images``, or lie in ``images``.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from pathlib import Path

from doll_monai.data.datalist import read_table
from doll_monai.data.ground_truth import BOX
from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_tools.prepare.preparation import Prepared, Radiograph
from doll_tools.prepare.published import Count
from doll_tools.prepare.sections import choose_sections

TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
BOXES = "BBox_List_2017.csv"
SIDE = 1024
"""Width and height in pixels of the grid of images and boxes."""

_OPACITIES = ("Infiltration", "Consolidation", "Pneumonia", "Edema", "Atelectasis", "Mass", "Nodule")
OBSERVATIONS: dict[str, tuple[str, ...]] = {
    "No Finding": ("No Finding",),
    "Cardiomegaly": ("Cardiomegaly",),
    "Lung Opacity": _OPACITIES,
    "Lung Lesion": ("Mass", "Nodule"),
    "Edema": ("Edema",),
    "Consolidation": ("Consolidation",),
    "Pneumonia": ("Pneumonia",),
    "Atelectasis": ("Atelectasis",),
    "Pneumothorax": ("Pneumothorax",),
    "Pleural Effusion": ("Effusion",),
    "Pleural Other": ("Pleural_Thickening",),
}
"""Observation to the findings of NIH any of which makes it positive. The others are not mentioned by NIH: blank."""

BOX_OBSERVATION: dict[str, str] = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Pleural Effusion",
    "Infiltrate": "Lung Opacity",
    "Infiltration": "Lung Opacity",
    "Mass": "Lung Lesion",
    "Nodule": "Lung Lesion",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
}
"""Finding of a box, as the list of boxes spells it, to the observation whose place it shows."""

IMAGES_OF_FINDING: dict[str, int] = {
    "No Finding": 60361,
    "Infiltration": 19894,
    "Effusion": 13317,
    "Atelectasis": 11559,
    "Nodule": 6331,
    "Mass": 5782,
    "Pneumothorax": 5302,
    "Consolidation": 4667,
    "Pleural_Thickening": 3385,
    "Cardiomegaly": 2776,
    "Emphysema": 2516,
    "Edema": 2303,
    "Fibrosis": 1686,
    "Pneumonia": 1431,
    "Hernia": 227,
}
"""Findings as NIH spells them, and the images of each in the first edition of the table."""


def nih_labels(findings: str, where: str) -> list[float | None]:
    """The 14 raw labels of an image, in the order of ``FINDINGS``.

    Args:
        findings: the cell of the table, ``Effusion|Mass`` for instance.
        where: file and line, for the error.

    Raises:
        InputError: when a finding is unknown, or ``No Finding`` stands beside another.
    """
    names = set(findings.split("|"))
    unknown = sorted(names - set(IMAGES_OF_FINDING))
    if unknown:
        raise InputError(f"{where}: '{unknown[0]}' is no finding of NIH; it must be of {', '.join(IMAGES_OF_FINDING)}.")
    if "No Finding" in names and len(names) > 1:
        raise InputError(f"{where}: '{findings}' has No Finding beside a finding; correct the row.")
    return [
        float(bool(names.intersection(OBSERVATIONS[observation]))) if observation in OBSERVATIONS else None
        for observation in FINDINGS
    ]


def prepare(
    dataset_dir: str | os.PathLike[str],
    *,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Prepared:
    """Look through the data set.

    NIH's test list stays the test section; validation images come from the rest, by patient. Without the two lists all
    images are split by patient. See ``choose_sections`` for the numbers.

    Raises:
        InputError: when a table is missing or has an unknown finding, no image of it is there, or the lists share a
            image or patient.
    """
    folder = Path(dataset_dir)
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if table is None:
        raise InputError(
            f"{folder} has no {TABLES[0]}; dataset_dir must be the folder with the tables of ChestX-ray14."
        )
    places = _find_images(folder)
    names, patients, values = [], [], []
    found: Counter[str] = Counter()
    lines: dict[str, int] = {}
    for line, row in read_table(table, ["Image Index", "Finding Labels", "Patient ID"], short_rows=True):
        where, name = f"{table}, line {line}", row["Image Index"]
        if name in lines or not name or Path(name).name != name:
            raise InputError(f"{where}: '{name}' occurs twice or is no plain file name; correct the row.")
        lines[name] = line
        names.append(name)
        patients.append(row["Patient ID"].zfill(8))
        values.append(nih_labels(row["Finding Labels"], where))
        found.update(row["Finding Labels"].split("|"))
    pools = _pools(folder, names, patients)
    there = [index for index, name in enumerate(names) if name in places]
    if not there:
        raise InputError(f"No image of {table} is in a folder images* of {folder}; unpack the archives there.")
    split = choose_sections(
        [pools[index] for index in there],
        [patients[index] for index in there],
        training=training,
        validation=validation,
        test=test,
        seed=seed,
    )
    images = [
        Radiograph(places[names[index]], section, values=values[index])
        for index, section in zip(there, split, strict=True)
        if section is not None
    ]
    boxes, counts = _boxes(folder, {image.image.rpartition("/")[2]: image.image for image in images})
    notes = []
    if not any(pools):
        notes.append("Without train_val_list.txt and test_list.txt all images are split by patient.")
    return Prepared(
        "NIH ChestX-ray14",
        folder,
        images,
        counts=[
            Count("images in the table", len(names), 112120),
            Count("images on disk", len(places), 112120),
            Count("patients", len(set(patients)), 30805),
            Count("train_val_list.txt", pools.count("training"), 86524),
            Count("test_list.txt", pools.count("test"), 25596),
            *(Count(finding, found[finding], number) for finding, number in IMAGES_OF_FINDING.items()),
            *counts,
        ],
        notes=notes,
        missing=[f"The image {name} of {table.name} is in no folder images*." for name in names if name not in places],
        files={"boxes.csv": boxes} if boxes else {},
    )


def _find_images(folder: Path) -> dict[str, str]:
    """File name to path below the data set of every PNG in its image folders."""
    folders = sorted(path for path in folder.glob("images*") if path.is_dir())
    places = {}
    for path in [*folders, *(inner / "images" for inner in folders if (inner / "images").is_dir())]:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.lower().endswith(".png"):
                    places[entry.name] = f"{path.relative_to(folder).as_posix()}/{entry.name}"
    return places


def _pools(folder: Path, names: list[str], patients: list[str]) -> list[str | None]:
    """NIH's own section of every image: training, test, or None where a list is missing."""
    lists = {"training": folder / "train_val_list.txt", "test": folder / "test_list.txt"}
    there = [path for path in lists.values() if path.is_file()]
    if not there:
        return [None] * len(names)
    if len(there) == 1:
        raise InputError(
            f"{folder} has {there[0].name} alone of NIH's two lists, so its test images are not known; add the other one"
            ", or take this one away for a split of your own."
        )
    members = {pool: set(path.read_text(encoding="utf-8").split()) for pool, path in lists.items()}
    pools = [next((pool for pool, listed in members.items() if name in listed), None) for name in names]
    people = {pool: {who for who, of in zip(patients, pools, strict=True) if of == pool} for pool in lists}
    shared = people["training"] & people["test"]
    if members["training"] & members["test"] or shared:
        raise InputError(
            f"{lists['training']} and {lists['test']} share images or patients, such as "
            f"{min(members['training'] & members['test'] or shared)}; download both lists again."
        )
    return pools


def _boxes(folder: Path, images: dict[str, str]) -> tuple[bytes, list[Count]]:
    """``boxes.csv`` as ``GroundTruth`` reads it, of the radiographs that are used; and how many boxes and radiographs NIH's list has."""
    path = folder / BOXES
    if not path.is_file():
        return b"", []
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(["Path", "finding", "nih_finding", *BOX])
    radiographs, number = set(), 0
    columns = ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"]
    for line, row in read_table(path, columns, short_rows=True):
        name, finding = row["Image Index"], row["Finding Label"]
        try:
            x, y, width, height = (float(row[column]) / SIDE for column in columns[2:])
            observation = BOX_OBSERVATION[finding]
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{path}, line {line}: '{finding}' is no finding with boxes, or its box is none."
            ) from error
        if not (0 <= x < 1 and 0 <= y < 1 and width > 0 and height > 0):
            raise InputError(
                f"{path}, line {line}: the box lies outside an image of {SIDE} x {SIDE} pixels; correct it."
            )
        radiographs.add(name)
        number += 1
        if name in images:
            place = (x, y, min(width, 1 - x), min(height, 1 - y))
            writer.writerow([images[name], observation, finding, *(f"{value:.6f}" for value in place)])
    return output.getvalue().encode(), [
        Count("boxes", number, 984),
        Count("radiographs with boxes", len(radiographs), 880),
    ]
