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
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path, PurePosixPath

from doll_monai.data.datalist import read_table, relative_path
from doll_monai.findings import FINDINGS
from doll_monai.utils.errors import InputError
from doll_tools.arguments import list_argument
from doll_tools.prepare.chexlocalize import ground_truth_files
from doll_tools.prepare.preparation import Count, Prepared, Radiograph, command, raw_label
from doll_tools.prepare.sections import in_several_pools

PATH, VIEW = "Path", "Frontal/Lateral"
TABLES: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "train.csv": ("training", (223414, 191027, 64540)),
    "valid.csv": ("test", (234, 202, 200)),
    "val_labels.csv": ("validation", (234, 202, 200)),
    "test_labels.csv": ("test", (668, None, 500)),
}
"""CheXpert's and CheXlocalize's tables: the section of the images; published numbers of images, frontal ones (not found
for the test set) and patients."""
LOOKED_FOR = 200
"""Images that are looked for, to know where the others are."""

_BATCH = re.compile(r"CheXpert-v1\.0 batch \d+ \(.+\)")
_PATIENT = re.compile(r"patient\d+")


@command
def prepare_chexpert(
    dataset_dir: str,
    chexlocalize: str | None = None,
    patient_overlap: str = "error",
    parts: str | Sequence[str] = ".",
    held_out: str | None = None,
) -> Prepared:
    """Frontal images of CheXpert, of CheXlocalize's part of it, or of any data set in the same layout.

    train.csv is split by patient into training and validation, valid.csv is test. CheXlocalize's val_labels.csv and
    test_labels.csv give validation and test. Labels stay 1, 0, -1 and blank; what -1 and blank mean is decided in
    training.

    Examples: doll prepare chexpert --dataset_dir CheXpert-v1.0-small --output output/chexpert;
    doll prepare chexpert --dataset_dir chexlocalize/CheXpert --chexlocalize chexlocalize/CheXlocalize
    --output output/chexlocalize

    Args:
        dataset_dir: folder with train.csv and valid.csv, with the four batches of the full set, or CheXlocalize's.
        chexlocalize: folder of gt_segmentations_val.json and gt_segmentations_test.json; truth.csv with its masks/ and,
            where there are points, points.csv are written beside dataset.json.
        patient_overlap: error, or drop: of a patient in two tables only the test images are kept.
        parts: folders below dataset_dir, with commas between, each with train.csv and valid.csv of its own; a patient
            has the same name in each of them.
        held_out: CSV file with a column Path of images whose patients are for test alone.
    """
    if patient_overlap not in ("error", "drop"):
        raise InputError(f"patient_overlap is '{patient_overlap}'; it must be error or drop.")
    folder = Path(dataset_dir)
    images: list[Radiograph] = []
    counts: list[Count] = []
    for part in list_argument(parts):
        place = folder / part
        localized = [name for name in ("val_labels.csv", "test_labels.csv") if (place / name).is_file()]
        for name in localized if localized and _table(place, "train.csv") is None else ("train.csv", "valid.csv"):
            found, numbers = read_chexpert(place, name)
            images += [image._replace(image=PurePosixPath(part, image.image).as_posix()) for image in found]
            counts += numbers if part == "." else [count._replace(what=f"{part}/{count.what}") for count in numbers]
    if held_out is not None:
        apart = {patient_of(row[PATH]) for _, row in read_table(Path(held_out), [PATH])}
        images = [image for image in images if image.pool == "test" or image.patient not in apart]
    shared = set(in_several_pools([image.patient for image in images], [image.pool for image in images]))
    if shared and patient_overlap == "error":
        raise InputError(
            f"{len(shared)} patients are in two tables of {folder}, such as {min(shared)}; correct the files, or use "
            "patient_overlap=drop to keep their test images alone."
        )
    images = [image for image in images if image.pool == "test" or image.patient not in shared]
    files: dict[str, bytes] = {}
    if chexlocalize is not None:
        files, places = ground_truth_files(Path(chexlocalize), [image.image for image in images])
        counts += places
    return Prepared(folder.resolve().name, folder, images, counts, files=files)


def read_chexpert(folder: Path, name: str) -> tuple[list[Radiograph], list[Count]]:
    """Frontal images of one of CheXpert's tables, and counts, beside the published ones where the paths are CheXpert's.

    Where a table has no column of views, the test images' for instance, the file's name says frontal or lateral.

    Raises:
        InputError: when the table, a column or all images are missing, a cell is wrong, or no row is frontal.
    """
    csv = _table(folder, name)
    if csv is None:
        raise InputError(f"{folder / name} does not exist; dataset_dir must be the folder with CheXpert's CSV files.")
    pool, published = TABLES[name]
    paths: list[str] = []
    images: list[Radiograph] = []
    for line, row in read_table(csv, [PATH, *FINDINGS]):
        where = f"{csv}, line {line}"
        paths.append(row[PATH])
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
        raise InputError(f"{csv} has no frontal image (and {len(paths)} lateral); only frontal images are used.")
    found = (len(paths), len(images), len(set(map(patient_of, paths))))
    if not paths[0].startswith("CheXpert-v1.0"):
        published = (None, None, None)
    kinds = zip(("images", "frontal images", "patients"), found, published, strict=True)
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

    The first of these that fits one of the first paths is taken for all: as they are, without their first component
    (``CheXpert-v1.0-small/``), with ``val`` for ``valid``, with both; below the batch of the patient or of ``valid``.
    """
    batches = {entry.name: batch.name for batch in _batches(folder) for entry in os.scandir(batch) if entry.is_dir()}

    def moved(path: str, strip: int, valid: str) -> str:
        return "/".join(valid if part == "valid" else part for part in PurePosixPath(path).parts[strip:])

    def in_batch(path: str) -> str:
        parts = PurePosixPath(path).parts
        at = next((at for at, part in enumerate(parts) if part in batches), None)
        return path if at is None else "/".join((batches[parts[at]], *parts[at:]))

    first = PurePosixPath(paths[0]).parts[0]
    for strip, valid in product((0, 1), ("valid", "val")):
        if any(os.path.isfile(folder / moved(path, strip, valid)) for path in paths[:LOOKED_FOR]):
            for path in paths if strip else ():
                if PurePosixPath(path).parts[0] != first:
                    raise InputError(f"{csv}: the path '{path}' does not start with '{first}' as the first one does.")
            return [moved(path, strip, valid) for path in paths]
    if batches:
        return [in_batch(path) for path in paths]
    raise InputError(
        f"The first frontal images of {csv} do not exist below {folder}, with or without '{first}': {paths[0]}."
    )
