"""CheXpert as a whole: whichever form of it is in a folder, its published numbers, and CheXlocalize's truth."""

from __future__ import annotations

import os
from pathlib import Path

from doll_monai.data.datalist import read_table
from doll_monai.utils.errors import InputError
from doll_tools.prepare.chexlocalize import TABLES, chexlocalize_datalist, truth_files
from doll_tools.prepare.chexpert import PATH_COLUMN, chexpert_datalist, count_rows
from doll_tools.prepare.chexpert_layout import find_table
from doll_tools.prepare.preparation import Prepared, Radiograph
from doll_tools.prepare.published import Count

PUBLISHED: dict[str, tuple[int | None, int | None, int | None]] = {
    "train.csv": (223414, 191027, 64540),
    "valid.csv": (234, 202, 200),
    "val_labels.csv": (234, 202, 200),
    "test_labels.csv": (668, None, 500),
}
"""Images, frontal images and patients of each table; the number of frontal test images was not found published."""


def prepare(
    dataset_dir: str | os.PathLike[str],
    *,
    chexlocalize: str | os.PathLike[str] | None = None,
    validation_share: float = 0.1,
    seed: int = 0,
    patient_overlap: str = "error",
    check_images: str = "some",
) -> Prepared:
    """Look through CheXpert, or the part of it that CheXlocalize brings.

    Published numbers are compared where the paths of the tables are CheXpert's: other data sets may have its layout.

    Args:
        dataset_dir: folder with ``train.csv`` and ``valid.csv`` or the batches with them, or with ``val_labels.csv``
            and ``test_labels.csv``.
        chexlocalize: folder of CheXlocalize's JSON files; see ``truth_files``.
        validation_share: see ``chexpert_datalist``, as for the next ones.
        seed: another seed, another split.
        patient_overlap: what becomes of patients in both tables.
        check_images: which images are looked for.

    Raises:
        InputError: as ``chexpert_datalist``, ``chexlocalize_datalist`` and ``truth_files``.
    """
    folder = Path(dataset_dir)
    if any((folder / name).is_file() for name in TABLES.values()) and not _has(folder, "train.csv"):
        tables = [name for name in TABLES.values() if (folder / name).is_file()]
        sections = chexlocalize_datalist(folder, check_images)
    else:
        tables = ["train.csv", "valid.csv"]
        sections = chexpert_datalist(
            folder, validation_share, seed, patient_overlap=patient_overlap, check_images=check_images
        )
    images = [
        Radiograph(record["image"], section, values=record["label"])
        for section, records in sections.items()
        for record in records
    ]
    own = tables[0] in TABLES.values() or _is_chexpert(find_table(folder, tables[0]))
    counts = []
    for table in tables:
        numbers = zip(
            count_rows(folder, table), ("images", "frontal images", "patients"), PUBLISHED[table], strict=True
        )
        counts += [Count(f"{table}: {what}", found, published if own else None) for found, what, published in numbers]
    files: dict[str, bytes] = {}
    if chexlocalize is not None:
        files, places = truth_files(chexlocalize, [image.image for image in images])
        counts += places
    return Prepared(folder.resolve().name, folder, images, counts=counts, files=files)


def _has(folder: Path, table: str) -> bool:
    try:
        return find_table(folder, table).is_file()
    except InputError:
        return False


def _is_chexpert(table: Path) -> bool:
    """Whether the first path of a table starts with CheXpert's own folder."""
    return next((row[PATH_COLUMN].startswith("CheXpert-v1.0") for _, row in read_table(table, [PATH_COLUMN])), False)
