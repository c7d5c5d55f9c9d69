"""``doll prepare nih``: NIH ChestX-ray14 (Wang et al. 2017), with its findings as CheXpert's observations.

The findings were mined from reports, so a finding that is not listed counts as absent (0), never as uncertain. Images
are spread over ``images_001/images`` ... ``images_012/images``, or lie in ``images``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from doll_monai.data.datalist import csv_file, read_table
from doll_monai.data.ground_truth import BOX
from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_tools.prepare.preparation import Count, Prepared, Radiograph, command, find_files
from doll_tools.prepare.sections import in_several_pools

TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
LISTS = {"train_val_list.txt": ("training", 86524), "test_list.txt": ("test", 25596)}
"""Lists of images: their section, and the published number."""
BOXES = "BBox_List_2017.csv"
SIDE = 1024
"""Width and height in pixels of the grid of images and boxes."""
FOUND: dict[str, tuple[int, tuple[str, ...]]] = {
    "No Finding": (60361, ("No Finding",)),
    "Infiltration": (19894, ("Lung Opacity",)),
    "Effusion": (13317, ("Pleural Effusion",)),
    "Atelectasis": (11559, ("Atelectasis", "Lung Opacity")),
    "Nodule": (6331, ("Lung Lesion", "Lung Opacity")),
    "Mass": (5782, ("Lung Lesion", "Lung Opacity")),
    "Pneumothorax": (5302, ("Pneumothorax",)),
    "Consolidation": (4667, ("Consolidation", "Lung Opacity")),
    "Pleural_Thickening": (3385, ("Pleural Other",)),
    "Cardiomegaly": (2776, ("Cardiomegaly",)),
    "Emphysema": (2516, ()),
    "Edema": (2303, ("Edema", "Lung Opacity")),
    "Fibrosis": (1686, ()),
    "Pneumonia": (1431, ("Pneumonia", "Lung Opacity")),
    "Hernia": (227, ()),
}
"""Findings as NIH spells them: images of each in the first edition of the table, and the observations that it makes
positive, of which a box localizes the first."""
MENTIONED = {observation for _, observations in FOUND.values() for observation in observations}
"""Observations that NIH knows; the others are blank."""


@command
def prepare_nih(dataset_dir: str) -> Prepared:
    """NIH ChestX-ray14 with CheXpert's observations, and its boxes as boxes.csv.

    NIH's test list stays the test section; validation images come from the rest, by patient. Without the two lists all
    images are split by patient. Images that are not unpacked are left out.

    Example: doll prepare nih --dataset_dir CXR8 --output output/nih

    Args:
        dataset_dir: folder with Data_Entry_2017.csv, train_val_list.txt, test_list.txt, BBox_List_2017.csv and the
            folders of images.
    """
    folder = Path(dataset_dir)
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if table is None:
        raise InputError(
            f"{folder} has no {TABLES[0]}; dataset_dir must be the folder with the tables of ChestX-ray14."
        )
    places = find_files(folder, r"images[^/]*/(?:.*/)?([^/]+\.png)")
    pool_of = _pools(folder)
    images, missing, pools, patients = [], [], [], []
    found: Counter[str] = Counter()
    for line, row in read_table(table, ["Image Index", "Finding Labels", "Patient ID"], short_rows=True):
        where, name, patient = f"{table}, line {line}", row["Image Index"], row["Patient ID"].zfill(8)
        values = nih_labels(row["Finding Labels"], where)
        patients.append(patient)
        found.update(row["Finding Labels"].split("|"))
        pools.append(pool_of.get(name))
        if path := places.get(name.upper()):
            images.append(Radiograph(path, patient, pools[-1], values, where=where))
        else:
            missing.append(f"The image {name} of {table.name} is in no folder images*.")
    if not images:
        raise InputError(f"No image of {table} is in a folder images* of {folder}; unpack the archives there.")
    if shared := in_several_pools(patients, pools):
        raise InputError(f"The two lists of {folder} share patients, such as {shared[0]}; download both again.")
    files, boxes = _boxes(folder, {Path(image.image).name: image.image for image in images})
    counts = [
        Count("images in the table", len(pools), 112120),
        Count("images on disk", len(places), 112120),
        Count("patients", len(set(patients)), 30805),
        *(Count(name, pools.count(pool), number) for name, (pool, number) in LISTS.items()),
        *(Count(finding, found[finding], number) for finding, (number, _) in FOUND.items()),
        *boxes,
    ]
    notes = [] if pool_of else [f"Without {' and '.join(LISTS)} all images are split by patient."]
    return Prepared("NIH ChestX-ray14", folder, images, counts, notes=notes, missing=missing, files=files)


def nih_labels(findings: str, where: str) -> list[float | None]:
    """The 14 raw labels, in the order of ``FINDINGS``, of an image with ``Effusion|Mass`` for instance.

    ``InputError`` when a finding is unknown, or ``No Finding`` stands beside another.
    """
    names = set(findings.split("|"))
    if unknown := sorted(names - set(FOUND)):
        raise InputError(f"{where}: '{unknown[0]}' is no finding of NIH; it must be of {', '.join(FOUND)}.")
    if "No Finding" in names and len(names) > 1:
        raise InputError(f"{where}: '{findings}' has No Finding beside a finding; correct the row.")
    positive = {observation for name in names for observation in FOUND[name][1]}
    return [float(name in positive) if name in MENTIONED else None for name in FINDINGS]


def _pools(folder: Path) -> dict[str, str]:
    """File name to NIH's own section, empty without NIH's lists."""
    there = [name for name in LISTS if (folder / name).is_file()]
    if len(there) == 1:
        raise InputError(
            f"{folder} has {there[0]} alone of NIH's two lists, so its test images are not known; add the other one, "
            "or take this one away for a split of your own."
        )
    pools: dict[str, str] = {}
    for name in there:
        for image in (folder / name).read_text(encoding="utf-8").split():
            if pools.setdefault(image, LISTS[name][0]) != LISTS[name][0]:
                raise InputError(f"The two lists of {folder} share images, such as {image}; download both again.")
    return pools


def _boxes(folder: Path, images: Mapping[str, str]) -> tuple[dict[str, bytes], list[Count]]:
    """``boxes.csv`` as ``GroundTruth`` reads it, of the images that are there; and what NIH's list has."""
    path = folder / BOXES
    if not path.is_file():
        return {}, []
    names, rows = [], []
    columns = ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"]
    for line, row in read_table(path, columns, short_rows=True):
        where, name, finding = f"{path}, line {line}", row["Image Index"], row["Finding Label"]
        try:
            x, y, width, height = (float(row[column]) / SIDE for column in columns[2:])
            observation = FOUND["Infiltration" if finding == "Infiltrate" else finding][1][0]
        except (KeyError, IndexError, ValueError) as error:
            raise InputError(f"{where}: '{finding}' is no finding with boxes, or its box is none.") from error
        if not (0 <= x < 1 and 0 <= y < 1 and width > 0 and height > 0):
            raise InputError(f"{where}: the box lies outside an image of {SIDE} x {SIDE} pixels; correct it.")
        names.append(name)
        if name in images:
            box = (x, y, min(width, 1 - x), min(height, 1 - y))
            rows.append((images[name], observation, finding, *(f"{value:.6f}" for value in box)))
    counts = [Count("boxes", len(names), 984), Count("images with boxes", len(set(names)), 880)]
    return {"boxes.csv": csv_file(("Path", "finding", "nih_finding", *BOX), rows)}, counts
