"""``doll prepare chexpert``: CheXpert (Irvin et al. 2019) in the forms in which it comes, or a set in its layout.

``CheXpert-v1.0-small`` and a joined ``CheXpert-v1.0`` have ``train.csv``, ``train/`` and ``valid/``. The full set comes
as four archives: ``CheXpert-v1.0 batch 1 (validate & csv)`` with the tables and ``valid/``, and ``batch 2 (train 1)``
to ``batch 4 (train 3)`` with the patients of ``train/`` directly below. CheXlocalize brings validation and test images
in ``val/`` and ``test/`` with ``val_labels.csv`` and ``test_labels.csv``.

Labels stay as they are: 1 positive, 0 negative, -1 uncertain, None where the CSV is blank (not mentioned). What an
uncertain or unmentioned observation means is decided where it is used, see ``doll_monai.transforms``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path, PurePosixPath

from doll_monai.data.datalist import read_table, relative_path
from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_tools.prepare.chexlocalize import ground_truth_files
from doll_tools.prepare.preparation import Count, Prepared, Radiograph, command, raw_label
from doll_tools.prepare.sections import in_several_pools

PATH, VIEW = "Path", "Frontal/Lateral"
TABLES = {"train.csv": "training", "valid.csv": "test"}
CHEXLOCALIZE_TABLES = {"val_labels.csv": "validation", "test_labels.csv": "test"}
"""Tables and the sections of their images; validation images of CheXpert come from ``train.csv``."""
PUBLISHED: dict[str, tuple[int | None, ...]] = {
    "train.csv": (223414, 191027, 64540),
    "valid.csv": (234, 202, 200),
    "val_labels.csv": (234, 202, 200),
    "test_labels.csv": (668, None, 500),
}
"""Images, frontal images and patients of each table; the number of frontal test images was not found published."""
LOOKED_FOR = 200
"""Images that are looked for, to know where the others are."""

_BATCH = re.compile(r"CheXpert-v1\.0 batch \d+ \(.+\)")
_PATIENT = re.compile(r"patient\d+")


@command
def prepare_chexpert(dataset_dir: str, chexlocalize: str | None = None, patient_overlap: str = "error") -> Prepared:
    """Frontal images of CheXpert, of CheXlocalize's part of it, or of any data set in the same layout.

    train.csv is split by patient into training and validation, valid.csv is test. CheXlocalize's val_labels.csv and
    test_labels.csv give validation and test. Labels stay 1, 0, -1 and blank; what -1 and blank mean is decided in
    training.

    Examples: doll prepare chexpert --dataset_dir CheXpert-v1.0-small --output output/chexpert;
    doll prepare chexpert --dataset_dir chexlocalize/CheXpert --chexlocalize chexlocalize/CheXlocalize
    --output output/chexlocalize

    Args:
        dataset_dir: folder with train.csv and valid.csv, with the four batches of the full set, or CheXlocalize's.
        chexlocalize: folder of gt_segmentations_val.json and gt_segmentations_test.json; truth.json and, where there
            are points, points.csv are written beside dataset.json.
        patient_overlap: error, or drop: drop the rows of train.csv whose patient is in valid.csv too.
    """
    if patient_overlap not in ("error", "drop"):
        raise InputError(f"patient_overlap is '{patient_overlap}'; it must be error or drop.")
    folder, tables = Path(dataset_dir), TABLES
    if any((folder / name).is_file() for name in CHEXLOCALIZE_TABLES) and _table(folder, "train.csv") is None:
        tables = {name: pool for name, pool in CHEXLOCALIZE_TABLES.items() if (folder / name).is_file()}
    images: list[Radiograph] = []
    counts: list[Count] = []
    for name, pool in tables.items():
        found, numbers = read_chexpert(folder, name, pool)
        images, counts = images + found, counts + numbers
    if tables is TABLES:
        shared = in_several_pools([image.patient for image in images], [image.pool for image in images])
        if shared and patient_overlap == "error":
            raise InputError(
                f"{len(shared)} patients are both in train.csv and valid.csv of {folder}, such as {shared[0]}; correct "
                "the files, or use patient_overlap=drop to drop their rows of train.csv."
            )
        dropped = set(shared)
        images = [image for image in images if image.pool == "test" or image.patient not in dropped]
    files: dict[str, bytes] = {}
    if chexlocalize is not None:
        files, places = ground_truth_files(Path(chexlocalize), [image.image for image in images])
        counts += places
    return Prepared(folder.resolve().name, folder, images, counts, files=files)


def read_chexpert(folder: Path, name: str, pool: str | None = None) -> tuple[list[Radiograph], list[Count]]:
    """Frontal images of one of CheXpert's tables.

    Where a table has no column of views, the test images' for instance, the file's name says frontal or lateral.
    Published numbers are given where the paths are CheXpert's own: other data sets may have its layout.

    Args:
        folder: the data set's folder.
        name: the table's name.
        pool: section of its images.

    Returns:
        the images; and numbers of images, frontal images and patients, the first and last with the lateral ones.

    Raises:
        InputError: when the table, a column or all images are missing, a cell is wrong, or no row is frontal.
    """
    csv = _table(folder, name)
    if csv is None:
        raise InputError(f"{folder / name} does not exist; dataset_dir must be the folder with CheXpert's CSV files.")
    rows: list[str] = []
    images: list[Radiograph] = []
    for line, row in read_table(csv, [PATH, *FINDINGS]):
        where = f"{csv}, line {line}"
        rows.append(row[PATH])
        view = _view(row)
        if view not in ("Frontal", "Lateral"):
            raise InputError(f"{where}: {VIEW} is '{view}'; it must be Frontal or Lateral.")
        if view == "Lateral":
            continue
        path = relative_path(row[PATH], where)
        patient = patient_of(path)
        if patient is None:
            raise InputError(f"{where}: the path '{path}' has no folder patientNNNNN, by which the images are split.")
        values = [raw_label(row[finding], f"{where}: {finding}") for finding in FINDINGS]
        images.append(Radiograph(path, patient, pool, values, where=where))
    if not images:
        raise InputError(f"{csv} has no frontal image (and {len(rows)} lateral); only frontal images are used.")
    found = (len(rows), len(images), len(set(map(patient_of, rows))))
    published = PUBLISHED.get(name) if rows[0].startswith("CheXpert-v1.0") else None
    kinds = zip(("images", "frontal images", "patients"), found, published or (None,) * 3, strict=True)
    places = _below_dataset([image.image for image in images], folder, csv)
    return (
        [image._replace(image=place) for image, place in zip(images, places, strict=True)],
        [Count(f"{name}: {kind}", number, known) for kind, number, known in kinds],
    )


def patient_of(path: str) -> str | None:
    """The ``patientNNNNN`` component of a path, None when there is none."""
    return next((part for part in PurePosixPath(path).parts if _PATIENT.fullmatch(part)), None)


def _view(row: Mapping[str, str]) -> str:
    """Frontal or Lateral, or what stands there instead."""
    name = PurePosixPath(row[PATH]).stem.lower()
    return row.get(VIEW, next((view for view in ("Frontal", "Lateral") if view.lower() in name), name))


def _batches(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("CheXpert-v1.0 batch *") if _BATCH.fullmatch(path.name))


def _table(folder: Path, name: str) -> Path | None:
    """A table of the data set, or of the batch that has it."""
    return next((place / name for place in (folder, *_batches(folder)) if (place / name).is_file()), None)


def _below_dataset(paths: list[str], folder: Path, csv: Path) -> list[str]:
    """Paths of a table relative to the data set's folder.

    The first path that exists decides for all: it is taken as it is when it exists, else without its first component
    (``CheXpert-v1.0-small/``), else with ``val`` for ``valid``. Where there are batches, each is looked for in them.
    """
    first = PurePosixPath(paths[0]).parts[0]

    def moved(path: str, strip: bool, rename: bool) -> str:
        parts = PurePosixPath(path).parts[int(strip) :]
        return "/".join("val" if rename and part == "valid" else part for part in parts)

    for path, strip, rename in product(paths[:LOOKED_FOR], (False, True), (False, True)):
        if (place := moved(path, strip, rename)) and os.path.exists(folder / place):
            break
    else:
        places = {entry.name: batch.name for batch in _batches(folder) for entry in os.scandir(batch) if entry.is_dir()}
        if places:
            return [_in_batches(path, places) for path in paths]
        raise InputError(
            f"The first frontal images of {csv} do not exist below {folder}, with or without '{first}': {paths[0]}."
        )
    for path in paths if strip else ():
        if PurePosixPath(path).parts[0] != first:
            raise InputError(f"{csv}: the path '{path}' does not start with '{first}' as the first one does.")
    return [moved(path, strip, rename) for path in paths]


def _in_batches(path: str, places: Mapping[str, str]) -> str:
    """A path as the batch of its patient or of ``valid`` has it; one that is in none as the table has it."""
    parts = PurePosixPath(path).parts
    index = next((index for index, part in enumerate(parts) if part in places), None)
    return path if index is None else "/".join((places[parts[index]], *parts[index:]))
