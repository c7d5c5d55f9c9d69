"""CheXpert (Irvin et al. 2019) on disk, and anything in its layout, as a datalist.

Labels stay as they are: 1 positive, 0 negative, -1 uncertain, None where the CSV is blank (not mentioned).
What an uncertain or unmentioned observation means is decided where it is used, see ``doll_monai.transforms``.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from doll_monai.data.datalist import read_table, relative_path
from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_tools.prepare.chexpert_layout import below_dataset, find_table
from doll_tools.prepare.patients import split_patients

PATH_COLUMN = "Path"
VIEW_COLUMN = "Frontal/Lateral"
CHECK_IMAGES = ("all", "some", "none")
CHECKED_WITHOUT_ASKING = 5000
CHECK_EVERY = 100

_PATIENT = re.compile(r"patient\d+")
_LABELS: dict[float, float] = {1.0: 1.0, 0.0: 0.0, -1.0: -1.0}
_logger = logging.getLogger(__name__)


def read_chexpert(
    dataset_dir: str | os.PathLike[str], csv_name: str, *, check_images: str = "some"
) -> list[dict[str, str | list[float | None]]]:
    """Frontal images of one of CheXpert's CSV files; how many lateral ones are left out is logged.

    CheXpert writes its folder's name before every path (``CheXpert-v1.0-small/train/...``); see ``below_dataset``.
    Where a table has no column of views, the test images' for instance, the file's name says frontal or lateral.

    Args:
        dataset_dir: the folder with ``train.csv``, ``valid.csv``, ``train/`` and ``valid/``, whatever its name.
        csv_name: the file below ``dataset_dir``.
        check_images: which images are looked for on disk: ``all``; ``some``, that is all of up to 5,000 images and
            every 100th of more; ``none``, only the first.

    Returns:
        records ``{"image": path relative to dataset_dir, "label": 14 values in the order of FINDINGS}``.

    Raises:
        InputError: when the file, a column or an image is missing, a label is none of 1, 0, -1 and blank, a path leads
            out of the data set, has no patient or occurs twice, or no row is frontal.
    """
    if check_images not in CHECK_IMAGES:
        raise InputError(f"check_images is '{check_images}'; it must be one of {', '.join(CHECK_IMAGES)}.")
    csv_path = find_table(dataset_dir, csv_name)
    lines: dict[str, int] = {}
    labels: list[list[float | None]] = []
    laterals = 0
    for line, row in read_table(csv_path, [PATH_COLUMN, *FINDINGS]):
        where = f"{csv_path}, line {line}"
        view = _view(row)
        if view not in ("Frontal", "Lateral"):
            raise InputError(f"{where}: {VIEW_COLUMN} is '{view}'; it must be Frontal or Lateral.")
        if view == "Lateral":
            laterals += 1
            continue
        path = relative_path(row[PATH_COLUMN], where)
        if path in lines:
            raise InputError(f"{where}: {path} occurs twice, first in line {lines[path]}.")
        if patient_of(path) is None:
            raise InputError(f"{where}: the path '{path}' has no folder patientNNNNN, by which the images are split.")
        lines[path] = line
        labels.append([raw_label(row[finding], f"{where}: {finding}") for finding in FINDINGS])
    if not lines:
        raise InputError(f"{csv_path} has no frontal image (and {laterals} lateral); only frontal images are used.")
    _logger.info("%s: %d frontal images, %d lateral left out", csv_name, len(lines), laterals)
    images = below_dataset(list(lines), dataset_dir, csv_path)
    _check_images(images, dataset_dir, csv_path, check_images)
    return [{"image": image, "label": label} for image, label in zip(images, labels, strict=True)]


def chexpert_datalist(
    dataset_dir: str | os.PathLike[str],
    validation_share: float = 0.1,
    seed: int = 0,
    *,
    patient_overlap: str = "error",
    check_images: str = "some",
) -> dict[str, list[dict]]:
    """Sections of CheXpert: ``train.csv`` split by patient into training and validation, ``valid.csv`` as test.

    Args:
        dataset_dir: the folder with ``train.csv`` and ``valid.csv``.
        validation_share: share of the patients of ``train.csv`` for validation, from 0 to below 1.
        seed: another seed, another split.
        patient_overlap: what becomes of patients in both files: ``error``, or ``drop`` their rows of ``train.csv``.
        check_images: see ``read_chexpert``.

    Raises:
        InputError: as ``read_chexpert``; when patients are in both files; when a section would be empty.
    """
    number = isinstance(validation_share, (int, float)) and not isinstance(validation_share, bool)
    if not number or not 0 <= validation_share < 1:
        raise InputError(f"validation_share is {validation_share}; it must be a number from 0 to below 1.")
    if patient_overlap not in ("error", "drop"):
        raise InputError(f"patient_overlap is '{patient_overlap}'; it must be error or drop.")
    train = read_chexpert(dataset_dir, "train.csv", check_images=check_images)
    test = read_chexpert(dataset_dir, "valid.csv", check_images=check_images)
    patients = [str(patient_of(str(record["image"]))) for record in train]
    shared = {patient_of(str(record["image"])) for record in test}.intersection(patients)
    if shared and patient_overlap == "error":
        raise InputError(
            f"{len(shared)} patients are both in train.csv and valid.csv of {dataset_dir}, such as "
            f"{min(map(str, shared))}; correct the files, or use patient_overlap=drop to drop their rows of train.csv."
        )
    section_of = split_patients(
        (patient for patient in patients if patient not in shared),
        {"validation": validation_share, "training": 1 - validation_share},
        seed,
    )
    sections: dict[str, list[dict]] = {"training": [], "validation": [], "test": list(test)}
    for patient, record in zip(patients, train, strict=True):
        if patient in section_of:
            sections[section_of[patient]].append(record)
    for section in ("training", "validation") if validation_share > 0 else ("training",):
        if not sections[section]:
            raise InputError(
                f"No patient of {len(section_of)} in train.csv fell into {section} with validation_share "
                f"{validation_share} and seed {seed}; choose another share or seed."
            )
    return sections


def count_labels(records: Sequence[dict]) -> dict[str, tuple[int, int, int, int]]:
    """For every observation, the numbers of positive, negative, uncertain and blank labels."""
    columns = list(zip(*(record["label"] for record in records), strict=True)) or [()] * len(FINDINGS)
    return {
        finding: (column.count(1.0), column.count(0.0), column.count(-1.0), column.count(None))
        for finding, column in zip(FINDINGS, columns, strict=True)
    }


def patient_of(path: str) -> str | None:
    """The ``patientNNNNN`` component of a path, None when there is none."""
    return next((part for part in PurePosixPath(path).parts if _PATIENT.fullmatch(part)), None)


def count_rows(dataset_dir: str | os.PathLike[str], csv_name: str) -> tuple[int, int, int]:
    """Images, frontal images and patients of one of CheXpert's CSV files; images and patients with the lateral ones.

    Raises:
        InputError: when the file or its column of paths is missing.
    """
    images = frontal = 0
    patients = set()
    for _, row in read_table(find_table(dataset_dir, csv_name), [PATH_COLUMN]):
        images += 1
        frontal += _view(row) == "Frontal"
        patients.add(patient_of(row[PATH_COLUMN]))
    return images, frontal, len(patients)


def _view(row: Mapping[str, str]) -> str:
    """Frontal or Lateral, or what stands there instead."""
    if VIEW_COLUMN in row:
        return row[VIEW_COLUMN]
    name = PurePosixPath(row[PATH_COLUMN]).stem.lower()
    return next((view for view in ("Frontal", "Lateral") if view.lower() in name), name)


def raw_label(cell: str, where: str) -> float | None:
    """A label as CheXpert writes it.

    Args:
        cell: 1, 0, -1 or blank.
        where: file, line and column, for the error.

    Raises:
        InputError: when it is none of these.
    """
    if not cell:
        return None
    try:
        return _LABELS[float(cell)]
    except (KeyError, ValueError) as error:
        raise InputError(f"{where} is {cell!r}; it must be 1, 0, -1 or blank.") from error


def _check_images(images: list[str], dataset_dir: str | os.PathLike[str], csv_path: Path, check_images: str) -> None:
    if check_images == "none":
        return
    few = check_images == "all" or len(images) <= CHECKED_WITHOUT_ASKING
    checked = images if few else images[::CHECK_EVERY]
    missing = [image for image in checked if not os.path.exists(os.path.join(dataset_dir, image))]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(checked)} images looked for in {csv_path} do not exist below {dataset_dir}, "
            f"first: {missing[0]}."
        )
